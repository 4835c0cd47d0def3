package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// purposes are the values of --key-for.
func purposes() []option {
	return []option{
		{"v3", "version 3 signatures"},
		{"any", "every signature, although some can pass for others"},
	}
}

// purposeVar adds the flag that states what a key is for if its certificate does not.
func purposeVar(flags *pflag.FlagSet, purpose *string) {
	choiceVar(flags, purpose, "key-for", "", "what a key is for if its certificate does not say", purposes())
	annotate(flags, "key-for", noteDefault, "version 2 signatures")
	once(flags, "key-for")
}

// statedFlags choose what certificates state that their keys are for.
type statedFlags struct{ purpose, in string }

func (f *statedFlags) add(flags *pflag.FlagSet, usage string) {
	choiceVar(flags, &f.purpose, "for", "", usage, []option{
		{"v2", "version 2 signatures"}, {"v3", "version 3 signatures"}, {"evm", "version 2 signatures in security.evm"},
	})
	annotate(flags, "for", noteDefault, "v3 for ML-DSA keys, nothing for others")
	choiceVar(flags, &f.in, "for-in", inUsage, "where the certificate states it", []option{
		{inUsage, "the extended key usage"}, {inExtension, "a separate extension, for CAs that issue no unknown usages"},
	})
	once(flags, "for", "for-in")
}

// The places in which a certificate states its purpose.
const (
	inUsage     = "eku"
	inExtension = "extension"
)

func (f *statedFlags) stated() ima.Purpose {
	for _, purpose := range []ima.Purpose{ima.ForV2, ima.ForV3, ima.ForEVM} {
		if f.purpose == purposeWord(purpose) {
			return purpose
		}
	}
	return ima.Unstated
}

// purposeWord returns the word for a purpose that a certificate states: v2, v3 or evm. It is
// "unstated" for one that states none.
func purposeWord(p ima.Purpose) string {
	switch p {
	case ima.ForV2:
		return "v2"
	case ima.ForV3:
		return "v3"
	case ima.ForEVM:
		return "evm"
	}
	return "unstated"
}

// withPurpose returns a key with the purpose that --key-for states. A key whose certificate
// states a purpose keeps that.
func withPurpose(key *ima.PublicKey, word string) (*ima.PublicKey, error) {
	switch {
	case word == "any":
		return key.For(ima.ForAny)
	case word == "v3" && key.Purpose() == ima.Unstated:
		return key.For(ima.ForV3)
	}
	return key, nil
}

// signsAs returns a key that signs with the purpose that --key-for states. It is an error
// if its certificate states another one.
func signsAs(key *ima.PublicKey, word string) (*ima.PublicKey, error) {
	if word == "v3" {
		return key.For(ima.ForV3)
	}
	return withPurpose(key, word)
}

// addSignature adds the flags that choose the version of the signatures, and that name the
// kernel that will verify them.
func (f *engineFlags) addSignature(flags *pflag.FlagSet) {
	choiceVar(flags, &f.form, "signature", "", "version of the signatures", []option{
		{"v2", "for every kernel"}, {"v3", "for Linux 7.1 and later; the signature covers its type"},
	})
	annotate(flags, "signature", noteDefault, "what the key is for, otherwise v2")
	once(flags, "signature")
	f.kernel.addWarnings(flags)
}

// addAccept adds the flag that chooses which versions of signatures a verification accepts.
func addAccept(flags *pflag.FlagSet, version *string) {
	choiceVar(flags, version, "signature", "", "accept only this version of signatures", []option{
		{"v3", "as appraise_type=sigv3 and bit 3 of EVM do"},
	})
	annotate(flags, "signature", noteDefault, "both, each by a key that is for it")
	once(flags, "signature")
}

// purposeHint finds version 3 signatures that --key-for would have accepted.
type purposeHint struct{ files atomic.Int64 }

// watch returns take, which also notes such signatures.
func (h *purposeHint) watch(take func(signing.Verdict) error) func(signing.Verdict) error {
	return func(v signing.Verdict) error {
		if errors.Is(v.Err, ima.ErrUnstated) {
			h.files.Add(1)
		}
		return take(v)
	}
}

// tell says what can be done. purpose is the value of --key-for.
func (h *purposeHint) tell(a *app, purpose string) {
	if n := h.files.Load(); n > 0 && purpose == "" {
		a.note("%d files have a version 3 signature by a key whose certificate does not state version 3: --key-for v3 accepts them", n)
	}
}

// signature returns the form of the signatures in an xattr, by a key that may be nil.
func (f *engineFlags) signature(xattr string, key *ima.PublicKey) ima.Form {
	form := ima.ContentSignature()
	if xattr == ima.XattrEVM {
		form = ima.PortableSignature()
	}
	if f.version(key) == 3 {
		return form.V3()
	}
	return form
}

// versioned returns the stage with signatures of the version that --signature names. Without
// the flag, it is the version that the key is for. A stage that only verifies has no key.
func (f *engineFlags) versioned(s signing.Stage) (signing.Stage, error) {
	var key *ima.PublicKey
	if s.Key != nil {
		key = s.Key.Public
	}
	form := f.signature(s.Xattr, key)
	if form.Version == 3 {
		s = s.V3()
	}
	if key != nil && !key.Purpose().Allows(form) {
		return s, &purposeError{key, form}
	}
	return s, nil
}

// version returns the version of the signatures by a key, which may be nil.
func (f *engineFlags) version(key *ima.PublicKey) uint8 {
	if f.form == "v3" || f.form == "" && key != nil && key.Purpose() == ima.ForV3 {
		return 3
	}
	return 2
}

// purposeError is an [ima.ErrPurpose] that was found before anything was read.
type purposeError struct {
	key  *ima.PublicKey
	form ima.Form
}

func (e *purposeError) Error() string {
	return fmt.Sprintf("key %s is for %s, not for version %d in %s", e.key.ID(), e.key.Purpose(), e.form.Version, e.form.Xattr)
}

func (*purposeError) Unwrap() error { return ima.ErrPurpose }

// Is tells a key that could be for the form, if it were stated.
func (e *purposeError) Is(target error) bool {
	return target == ima.ErrUnstated && e.key.Purpose() == ima.Unstated && e.form.Version == 3
}
