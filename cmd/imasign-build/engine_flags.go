package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/signing"
)

// engineFlags say how files are digested and which signatures are replaced.
type engineFlags struct {
	hash  string
	jobs  int
	force bool
	from  string // id of the key whose signatures are replaced
	form  string // "v2", "v3", or "" for what the key is for

	receipts string // file for the receipts of a signing service; "" for none

	reuse  reuseFlags
	caches func(*keystore.Key) []signing.Cache // of the signatures of a key; nil for none

	verity bool        // some files get signatures over their fs-verity digests
	kernel kernelFlags // that will verify the signatures
}

func (f *engineFlags) addJobs(flags *pflag.FlagSet) { jobsVar(flags, &f.jobs, "files") }

// jobsVar adds the flag that says how many things are worked on at a time.
func jobsVar(flags *pflag.FlagSet, jobs *int, things string) {
	flags.IntVarP(jobs, "jobs", "j", 0, "work on `N` "+things+" at a time")
	annotate(flags, "jobs", noteDefault, "one per processor core")
}

// checkJobs refuses a value of --jobs that is no number of things. 0 is the default.
func checkJobs(jobs int) error {
	if jobs < 0 {
		return usagef("--jobs %d: must be at least 1", jobs)
	}
	return nil
}

func (f *engineFlags) addHash(flags *pflag.FlagSet) {
	c := choiceVar(flags, &f.hash, "hash", "sha256", "digest algorithm of the signatures", words(signingHashes()...))
	c.accept = func(name string) error {
		_, err := parseHash(name)
		return err
	}
}

func (f *engineFlags) addForce(flags *pflag.FlagSet) {
	flags.BoolVar(&f.force, "force", false, "replace signatures that were, or may have been, made by another key")
}

// addReplace adds the flags that say which existing signatures are replaced.
func (f *engineFlags) addReplace(flags *pflag.FlagSet) {
	f.addForce(flags)
	flags.StringVar(&f.from, "from-key-id", "", "replace only signatures whose key id is `ID`; unsigned files stay unsigned")
	once(flags, "from-key-id")
}

// engine makes the engine. key and public may be nil. stages follow the one for
// security.ima.
func (f *engineFlags) engine(key *keystore.Key, public *ima.PublicKey, observe signing.Observer, stages ...signing.Stage) (*signing.Engine, error) {
	signer := signing.Key{Public: public}
	if err := checkJobs(f.jobs); err != nil {
		return nil, err
	}
	var err error
	if signer.From, err = replacedKey("from-key-id", f.from, f.force, public); err != nil {
		return nil, err
	}
	var hash ima.HashID
	if f.hash != "" {
		if hash, err = parseHash(f.hash); err != nil {
			return nil, usageError{fmt.Errorf("--hash %q: %w", f.hash, err)}
		}
	}
	if key != nil {
		f.signWith(&signer, key)
	}
	content, err := f.versioned(signing.ContentStage(&signer, hash))
	if err != nil {
		return nil, err
	}
	if form := ima.VeritySignature(); f.verity && signer.Public != nil && !signer.Public.Purpose().Allows(form) {
		return nil, &purposeError{signer.Public, form}
	}
	return signing.New(signing.Options{
		Stages: append([]signing.Stage{content}, stages...), Jobs: f.jobs, Force: f.force, Observe: observe,
	})
}

// signWith completes the key of a stage.
func (f *engineFlags) signWith(signer *signing.Key, key *keystore.Key) {
	signer.Signer, signer.Public, signer.Workers = key, key.Public, cmp.Or(key.Parallelism, f.jobs)
	signer.Batch, signer.Whole = key.Batch, key.Whole
	if f.caches != nil {
		signer.Caches = f.caches(key)
	}
}

// replacedKey reads the value of a flag that limits a run to the signatures of one key.
// The id is 0 if the flag was not given. public is the key that signs, nil if not known.
func replacedKey(flag, value string, force bool, public *ima.PublicKey) (ima.KeyID, error) {
	if value == "" {
		return 0, nil
	}
	from, err := ima.ParseKeyID(value)
	switch {
	case err != nil:
		return 0, usageError{fmt.Errorf("--%s: %w", flag, err)}
	case force:
		return 0, usagef("--force replaces signatures of any key: leave out --force or --%s", flag)
	case public != nil && public.ID() == from:
		return 0, usagef("--%s %s is the id of the key that signs", flag, from)
	}
	return from, nil
}

// addAllowEmpty adds the flag that lets a verification of no files succeed. Without it the
// verification fails, because a wrong directory or pattern is the likely reason.
func addAllowEmpty(flags *pflag.FlagSet, allow *bool, verb string) {
	flags.BoolVar(allow, "allow-empty", false, "succeed even if there is no file to "+verb)
}

// nothing warns that name has no file to verify, search and so on.
func (a *app) nothing(verb, name string, allowed bool) {
	hint := "; --allow-empty accepts that"
	if allowed {
		hint = ""
	}
	a.note("warning: there was no file to %s in %s%s", verb, name, hint)
}

// signingHashes returns the names of the hashes that files can be signed with.
func signingHashes() []string {
	return []string{"sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"}
}

// parseHash reads the name of a hash to sign with. Its errors distinguish hashes that are
// too weak, hashes that the kernel has and this program does not, and other words.
func parseHash(name string) (ima.HashID, error) {
	hash, err := ima.ParseHash(name)
	if err == nil {
		err = hash.CheckSigns()
	}
	choose := unknownWord(words(signingHashes()...), name)
	switch {
	case errors.Is(err, ima.ErrSHA1):
		return 0, fmt.Errorf("too weak to sign with: %w", choose)
	case errors.Is(err, ima.ErrUnsupportedHash):
		return 0, fmt.Errorf("the kernel supports this hash, but this program does not: %w", choose)
	case err != nil:
		return 0, choose
	}
	return hash, nil
}
