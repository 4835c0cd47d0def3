package signing_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// purposed returns the key with another purpose.
func (k key) purposed(t *testing.T, p ima.Purpose) key {
	t.Helper()
	public, err := k.public.For(p)
	check(t, err)
	return key{k.private, public}
}

// made returns the key's value of any form.
func (k key) made(t *testing.T, f ima.Form, digest []byte) []byte {
	t.Helper()
	anything := k.purposed(t, ima.ForAny)
	values, err := ima.Sign(context.Background(), anything.signer(), anything.public, f, ima.SHA256, [][]byte{digest})
	check(t, err)
	return values[0]
}

// TestVersions verifies signatures of each version, by keys of each purpose, with stages of
// each version.
func TestVersions(t *testing.T) {
	k := newKey(t)
	v2, v3 := ima.ContentSignature(), ima.ContentSignature().V3()
	for _, c := range []struct {
		form ima.Form
		key  ima.Purpose
		only bool // version 3
		want error
	}{
		{v2, ima.Unstated, false, nil},
		{v2, ima.ForV2, false, nil},
		{v2, ima.ForAny, false, nil},
		{v2, ima.ForV3, false, ima.ErrPurpose},
		{v2, ima.ForEVM, false, ima.ErrPurpose},
		{v2, ima.ForAny, true, ima.ErrUnsupportedVersion},
		{v3, ima.ForV3, false, nil},
		{v3, ima.ForAny, false, nil},
		{v3, ima.Unstated, false, ima.ErrPurpose},
		{v3, ima.ForV2, false, ima.ErrPurpose},
		{v3, ima.ForEVM, false, ima.ErrPurpose},
		{v3, ima.ForV3, true, nil},
	} {
		stage := signing.ContentStage(nil, 0)
		if c.only {
			stage = stage.V3()
		}
		e := engine(t, signing.Options{Stages: []signing.Stage{stage}})
		entry := file("f", "content", k.made(t, c.form, sum(ima.SHA256, "content")))
		v := verdicts(t, e, source(entry), ring(k.purposed(t, c.key)), nil)[0]
		if !errors.Is(v.Err, c.want) || v.Outcome.Wrong() != (c.want != nil) || v.Form != c.form {
			t.Errorf("version %d by a key for %s, only version 3: %v: %s, %v", c.form.Version, c.key, c.only, v.Outcome, v.Err)
		}
	}
}

// TestVersionsOfMetadata does the same for security.evm, under which a digest in
// security.ima is enough.
func TestVersionsOfMetadata(t *testing.T) {
	k := newKey(t)
	hashed := ima.DigestValue(ima.SHA256, sum(ima.SHA256, "content"))
	digest, err := ima.EVMDigest(ima.SHA256, ima.EVMMetadata{Portable: true, Mode: 0o100755}, map[string][]byte{ima.XattrIMA: hashed})
	check(t, err)
	for _, c := range []struct {
		form ima.Form
		only bool
		want error
	}{
		{ima.PortableSignature(), false, nil},
		{ima.PortableSignature().V3(), false, nil},
		{ima.PortableSignature().V3(), true, nil},
		{ima.PortableSignature(), true, ima.ErrUnsupportedVersion},
	} {
		content, metadata := signing.ContentStage(nil, 0), signing.PortableStage(nil, 0, func() ima.EVMTarget { return ima.EVMTarget{} })
		if c.only {
			content, metadata = content.V3(), metadata.V3()
		}
		entry := file("f", "content", hashed)
		entry.Xattrs[ima.XattrEVM] = k.made(t, c.form, digest)
		trust := signing.Trust{Ring: ring(), EVM: ring(k.purposed(t, ima.ForAny))}
		err := engine(t, signing.Options{Stages: []signing.Stage{content, metadata}}).Verify(context.Background(), source(entry), trust, func(v signing.Verdict) error {
			if got := v.Values[1]; !errors.Is(got.Err, c.want) || v.Outcome.Wrong() != (c.want != nil) {
				t.Errorf("version %d, only version 3: %v: %+v", c.form.Version, c.only, v.Values)
			}
			return nil
		})
		check(t, err)
	}
}

// TestDoubleUse verifies version 2 signatures of contents that version 3 and EVM signatures
// are over. A kernel accepts them.
func TestDoubleUse(t *testing.T) {
	misc := make([]byte, 24)
	binary.LittleEndian.PutUint16(misc[20:], 0o100755)
	k := newKey(t)
	for name, content := range map[string]string{
		"a file_id":  "\x03\x04" + string(sum(ima.SHA256, "program")),
		"an EVM one": "\x05\x04" + string(sum(ima.SHA256, "program")),
		"preimage":   string(ima.DigestValue(ima.SHA256, sum(ima.SHA256, "program"))) + string(misc),
	} {
		for _, form := range []ima.Form{ima.ContentSignature(), ima.ContentSignature().V3()} {
			value := k.made(t, form, sum(ima.SHA256, content))
			for _, asKernel := range []bool{false, true} {
				var want error
				if form.Version == 2 && !asKernel {
					want = signing.ErrDoubleUse
				}
				trust := signing.Trust{Ring: ring(k.purposed(t, ima.ForAny)), AsKernel: asKernel}
				err := engine(t, signing.Options{}).Verify(context.Background(), source(file("f", content, value)), trust, func(v signing.Verdict) error {
					if !errors.Is(v.Err, want) || (v.Outcome == signing.Bad) != (want != nil) {
						t.Errorf("%s, version %d, as a kernel: %v: %s, %v", name, form.Version, asKernel, v.Outcome, v.Err)
					}
					return nil
				})
				check(t, err)
			}
		}
	}
}

// TestOneKeyForBoth refuses a key that is trusted for two purposes, in both xattrs or in one,
// where two certificates state them.
func TestOneKeyForBoth(t *testing.T) {
	k, other := newKey(t), newKey(t)
	e := engine(t, signing.Options{})
	for _, c := range []struct {
		content, metadata key
		want              error
	}{
		{k, k, ima.ErrBothXattrs},
		{k.purposed(t, ima.ForV2), k.purposed(t, ima.ForEVM), ima.ErrBothXattrs},
		{k, k.purposed(t, ima.ForV3), ima.ErrPurpose},
		{k.purposed(t, ima.ForV3), k, ima.ErrPurpose},
		{k.purposed(t, ima.ForV2), k.purposed(t, ima.ForV2), nil}, // no signature in security.evm is accepted
		{k, k.purposed(t, ima.ForAny), nil},
		{k, other, nil},
		{k.purposed(t, ima.ForV3), k.purposed(t, ima.ForV3), nil},
		{k.purposed(t, ima.ForAny), k.purposed(t, ima.ForAny), nil},
	} {
		trust := signing.Trust{Ring: ring(other, c.content), EVM: ring(c.metadata)}
		if c.metadata == other {
			trust.Ring = ring(c.content)
		}
		if err := e.Verify(context.Background(), source(), trust, nil); !errors.Is(err, c.want) {
			t.Errorf("%s and %s: %v", c.content.public.Purpose(), c.metadata.public.Purpose(), err)
		}
		if c.want != nil {
			if _, err := e.Apply(context.Background(), source(), trust); !errors.Is(err, c.want) {
				t.Errorf("apply: %s and %s: %v", c.content.public.Purpose(), c.metadata.public.Purpose(), err)
			}
		}
	}
}

// TestTwoCertificates refuses two certificates of one key in one ring, if they state two
// purposes: each version would be accepted by one of them.
func TestTwoCertificates(t *testing.T) {
	k, other := newKey(t), newKey(t)
	for _, c := range []struct {
		one, two key
		want     error
	}{
		{k.purposed(t, ima.ForV2), k.purposed(t, ima.ForV3), ima.ErrPurpose},
		{k, k.purposed(t, ima.ForV3), ima.ErrPurpose},
		{k.purposed(t, ima.ForEVM), k.purposed(t, ima.ForV3), ima.ErrPurpose},
		{k.purposed(t, ima.ForV2), k.purposed(t, ima.ForEVM), ima.ErrBothXattrs},
		{k, k.purposed(t, ima.ForV2), nil}, // the second one is newer
		{k.purposed(t, ima.ForV2), other.purposed(t, ima.ForV3), nil},
	} {
		for _, trust := range []signing.Trust{{Ring: ring(c.one, c.two)}, {Ring: ring(c.two, c.one)}} {
			if err := engine(t, signing.Options{}).Verify(context.Background(), source(), trust, nil); !errors.Is(err, c.want) {
				t.Errorf("%s and %s: %v", c.one.public.Purpose(), c.two.public.Purpose(), err)
			}
			trust.AsKernel = true
			check(t, engine(t, signing.Options{}).Verify(context.Background(), source(), trust, nil))
		}
	}
}
