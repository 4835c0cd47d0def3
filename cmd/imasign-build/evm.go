package main

import (
	"context"
	"iter"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/signing"
)

// evmSigner is the name of the key pair for security.evm in a directory of key init.
const evmSigner = "x509_evm"

// evmFlags choose what security.evm gets.
type evmFlags struct {
	kind   string // "" or "portable"
	key    keyFlags
	from   string // id of the key whose signatures in security.evm are replaced
	ima    string // "signature" or "digest"
	target evmTarget
}

func (f *evmFlags) add(flags *pflag.FlagSet) {
	f.key.name = evmSigner
	choiceVar(flags, &f.kind, "evm", "", "also sign owner, mode and labels of each file, in security.evm", []option{{"portable", "a signature that is valid on every device"}})
	flags.StringVar(&f.key.key, "evm-key", "", "sign security.evm with the key `URI`")
	annotate(flags, "evm-key", noteDefault, "x509_evm beside --key")
	flags.StringVar(&f.key.pass, "evm-key-pass", "", "read the passphrase or PIN of --evm-key from `SOURCE`, as --key-pass")
	annotate(flags, "evm-key-pass", noteDefault, "--key-pass")
	flags.StringVar(&f.key.cert, "evm-cert", "", "the certificate of --evm-key is in `FILE`")
	choiceVar(flags, &f.ima, "ima", "signature", "what to store in security.ima with --evm", []option{{"signature", "of the content"}, {"digest", "of the content, for Linux 5.14 and later with EVM"}})
	flags.StringVar(&f.from, "evm-from-key-id", "", "replace only signatures in security.evm whose key id is `ID`")
	f.target.add(flags)
	once(flags, "evm", "evm-key", "evm-key-pass", "evm-cert", "ima", "evm-from-key-id")
}

// digestWarning returns what --ima digest gives up. version is that of the signature in
// security.evm.
func digestWarning(version uint8) string {
	text := "--ima digest: the files are refused where EVM is off, and by kernels before 5.14"
	if version == 2 {
		text += "; without EVM's bit 3 they also pass appraise_type=sigv3, although their EVM signature is version 2"
	}
	return text
}

// oneKeyWarning returns what is risked if one key signs security.ima, which content may be nil
// for, and security.evm; "" if it is not one, or if its user insists.
//
// Version 3 covers the type of a signature, but kernels also take type 03 in security.evm, over the
// metadata of one inode (evm_verify_hmac in security/integrity/evm/evm_main.c).
func oneKeyWarning(content, evm *keystore.Key) string {
	const text = "one key signs security.ima and security.evm: where a kernel trusts it for both, a file with chosen content passes for the metadata of "
	switch {
	case content == nil:
	case ima.NewKeyring(content.Public).CheckApart(ima.NewKeyring(evm.Public)) != nil:
		return text + "another file; verification refuses that without --key-for any"
	case content.Public.Purpose() == ima.ForV3 && content.Public.Equal(evm.Public):
		return text + "one inode, as type 03 in security.evm"
	}
	return ""
}

func (f *evmFlags) on() bool { return f.kind != "" }

// xattrs returns the names of the xattrs that signing sets.
func (f *evmFlags) xattrs() []string {
	if !f.on() {
		return nil
	}
	return []string{ima.XattrIMA, ima.XattrEVM}
}

// digestOnly reports whether security.ima gets digests, and so needs no key.
func (f *evmFlags) digestOnly() bool { return f.on() && f.ima == "digest" }

// idle refuses flags that have no effect without --evm.
func (f *evmFlags) idle(flags *pflag.FlagSet) error {
	if f.on() {
		return nil
	}
	return idle(flags, "--evm portable", "evm-key", "evm-key-pass", "evm-cert", "evm-target", "evm-from-key-id", "ima")
}

// check completes the flags. content is the key for security.ima.
func (f *evmFlags) check(content *keyFlags) error {
	if !f.on() {
		return nil
	}
	if f.key.passFlag = "--evm-key-pass"; f.key.pass == "" {
		f.key.pass, f.key.passFlag, f.key.variable = content.pass, content.passFlag, true
	}
	f.key.purpose = content.purpose
	if f.key.key != "" || content.key == "" {
		return nil
	}
	beside, err := besideKey(content.key)
	f.key.key = beside
	return err
}

// besideKey returns the URI of the directory that a key is in.
func besideKey(uri string) (string, error) {
	if directoryOf(uri) != nil {
		return uri, nil
	}
	if path, query, is := tpmFile(uri); is {
		return tpmURI(filepath.Dir(path), query), nil
	}
	if path, is, err := keystore.FilePath(uri); err == nil && is {
		return "file:" + filepath.Dir(path), nil
	}
	return "", usagef("which key signs security.evm? --evm-key URI")
}

// stage returns the stage for security.evm, and its key. There is none in a dry run without
// a key.
func (f *evmFlags) stage(ctx context.Context, a *app, content *keystore.Key, engine *engineFlags) (*signing.Stage, *keystore.Key, error) {
	key, err := f.key.open(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	var hash ima.HashID
	if engine.hash != "" {
		if hash, err = parseHash(engine.hash); err != nil {
			return nil, key, err
		}
	}
	signer := &signing.Key{}
	if signer.Public, err = f.key.public(ctx, key); err != nil {
		return nil, key, err
	}
	if key != nil {
		engine.signWith(signer, key)
		if text := oneKeyWarning(content, key); text != "" {
			a.note("warning: %s", text)
		}
	}
	if signer.From, err = replacedKey("evm-from-key-id", f.from, engine.force, signer.Public); err != nil {
		return nil, key, err
	}
	if f.digestOnly() {
		a.note("warning: %s", digestWarning(engine.version(signer.Public)))
	}
	stage, err := engine.versioned(signing.PortableStage(signer, hash, f.target.get))
	return &stage, key, err
}

// hashed gives every file a digest in place of a signature.
type hashed struct{ signing.Source }

func (h hashed) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range h.Source.Entries(ctx) {
			e.HashOnly = true
			if !yield(e, err) {
				return
			}
		}
	}
}

// wrap returns the source that is planned.
func (f *evmFlags) wrap(ctx context.Context, a *app, src signing.Source) (signing.Source, error) {
	if !f.on() {
		return src, nil
	}
	if err := f.target.learn(ctx, a, src); err != nil {
		return nil, err
	}
	if f.digestOnly() {
		return hashed{src}, nil
	}
	return src, nil
}

// noEVMInPackages collects the flags for security.evm in commands for packages, which
// refuse them.
type noEVMInPackages struct{ values [5]string }

func (f *noEVMInPackages) add(flags *pflag.FlagSet) {
	for i, name := range []string{"evm", "evm-key", "evm-cert", "evm-target", "ima"} {
		flags.StringVar(&f.values[i], name, "", "")
		_ = flags.MarkHidden(name) // which fails only if there is no such flag
	}
}

func (f *noEVMInPackages) check() error {
	if strings.Join(f.values[:], "") == "" {
		return nil
	}
	return errNoEVMInPackages
}

// errNoEVMInPackages is why packages have no EVM signatures.
var errNoEVMInPackages = usagef("--evm: packages carry no EVM signatures: rpm has no tag for them, packages name users instead of ids, and labels come from the device: sign the installed tree or the image (rootfs sign --evm portable)")
