package main

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/fsverity"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// verityParameters are the flags for the parameters of fs-verity digests.
type verityParameters struct{ block, salt string }

func (f *verityParameters) add(flags *pflag.FlagSet) {
	var sizes []string
	for n := fsverity.MinBlockSize; n <= fsverity.MaxBlockSize; n *= 2 {
		sizes = append(sizes, strconv.Itoa(n))
	}
	choiceVar(flags, &f.block, "verity-block-size", strconv.Itoa(fsverity.DefaultBlockSize), "block size of fs-verity, in bytes", words(sizes...))
	flags.StringVar(&f.salt, "verity-salt", "", "salt of fs-verity, as `HEX` digits")
	once(flags, "verity-block-size", "verity-salt")
}

// get returns the parameters.
func (f *verityParameters) get() (manifest.Verity, error) {
	v := manifest.DefaultVerity()
	if f.block != "" { // the flag exists
		v.BlockSize, _ = strconv.Atoi(f.block) // one of the choices
	}
	var err error
	if v.Salt, err = hex.DecodeString(f.salt); err != nil {
		return v, usagef("--verity-salt %q: not hexadecimal digits, two for each byte", f.salt)
	}
	if err := (fsverity.Parameters{Hash: crypto.SHA256, BlockSize: v.BlockSize, Salt: v.Salt}).Check(); err != nil {
		return v, usageError{fmt.Errorf("--verity-salt: %w", err)}
	}
	return v, nil
}

// verityFlags say which files get signatures over their fs-verity digests.
type verityFlags struct {
	verityParameters

	patterns []string
}

func (f *verityFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.patterns, "verity", nil, "sign the fs-verity digest, in version 3, of files that match `PATTERN` ('*' for all)")
	f.verityParameters.add(flags)
}

func (f *verityFlags) on() bool { return len(f.patterns) > 0 }

// idle refuses flags that have no effect without --verity.
func (f *verityFlags) idle(flags *pflag.FlagSet) error {
	if f.on() {
		return nil
	}
	return idle(flags, "--verity PATTERN", "verity-block-size", "verity-salt")
}

// check refuses what cannot be combined with --verity, and warns of what a device needs.
func (f *verityFlags) check(a *app, signer *signerFlags) error {
	if !f.on() {
		return nil
	}
	if signer.evm.digestOnly() {
		return usagef("--verity and --ima digest: security.ima has either a signature or a digest: leave out one of them")
	}
	if h, err := parseHash(signer.engine.hash); err == nil && h != ima.SHA256 && h != ima.SHA512 {
		return usagef("--verity: fs-verity has only the hashes sha256 and sha512: give one of them with --hash")
	}
	params, err := f.get()
	if err != nil {
		return err
	}
	salt := ""
	if len(params.Salt) > 0 {
		salt = fmt.Sprintf(" --salt=%x", params.Salt)
	}
	a.note("warning: --verity: a signature does not enable fs-verity: the device accepts these files only where `fsverity enable --hash-alg=%s --block-size=%d%s FILE` has run, under rules with digest_type=verity", signer.engine.hash, params.BlockSize, salt)
	signer.engine.verity = true
	return nil
}

// verityNote counts the valid signatures over fs-verity digests.
type verityNote struct{ files int64 }

// watch counts what it passes to take.
func (n *verityNote) watch(take func(signing.Verdict) error) func(signing.Verdict) error {
	return func(v signing.Verdict) error {
		if v.Outcome == signing.OK && v.Form == ima.VeritySignature() {
			n.files++
		}
		return take(v)
	}
}

// tell says what these signatures need on a device.
func (n *verityNote) tell(a *app, trust *signing.Trust) {
	if n.files == 0 {
		return
	}
	signatures, parameters := "file has a signature over its fs-verity digest, which a device accepts", trust.Verity.String()
	if n.files > 1 {
		signatures = "files have signatures over their fs-verity digests, which a device accepts"
	}
	if trust.Index != nil {
		parameters = "the parameters in the manifest"
	}
	a.note("%s %s only where fs-verity is enabled with %s", report.Count(n.files), signatures, parameters)
}
