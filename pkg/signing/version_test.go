package signing_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

func bare(t *testing.T, private crypto.Signer) key {
	t.Helper()
	public, err := ima.BareKey(private.Public())
	check(t, err)
	return key{private, public}
}

func newMLDSA(t *testing.T, name string) key {
	t.Helper()
	private, err := mldsa.Generate(name, rand.Reader)
	check(t, err)
	return bare(t, private)
}

// versioned returns an engine that signs security.ima in one version.
func (k key) versioned(t *testing.T, version uint8, from ima.KeyID) *signing.Engine {
	t.Helper()
	stage := signing.ContentStage(&signing.Key{From: from}, 0)
	if version == 3 {
		stage = stage.V3()
	}
	return k.engine(t, signing.Options{Stages: []signing.Stage{stage}})
}

// TestOtherVersion replaces signatures of the other version by the same key without force
// exactly when they are certainly its own.
func TestOtherVersion(t *testing.T) {
	r, ec := bare(t, newRSA(t)), newKey(t)
	v2, v3 := ima.ContentSignature(), ima.ContentSignature().V3()
	same, old := sum(ima.SHA256, "x"), sum(ima.SHA256, "old")
	for _, c := range []struct {
		name    string
		key     key
		purpose ima.Purpose
		have    []byte
		version uint8 // that is asked for
		want    error
	}{
		{"RSA, 2 to 3", r, ima.ForV3, r.made(t, v2, same), 3, nil},
		{"RSA, 2 to 3, stale", r, ima.ForV3, r.made(t, v2, old), 3, nil},
		{"RSA, 3 to 2, any", r, ima.ForAny, r.made(t, v3, same), 2, nil},
		{"RSA, 3 to 2, stated", r, ima.ForV2, r.made(t, v3, same), 2, nil},
		{"RSA, 3 to 2, unstated", r, ima.Unstated, r.made(t, v3, same), 2, ima.ErrPurpose},
		{"ECDSA, 2 to 3", ec, ima.ForV3, ec.made(t, v2, same), 3, nil},
		{"ECDSA, 2 to 3, stale", ec, ima.ForV3, ec.made(t, v2, old), 3, signing.ErrNotOurs},
		{"ECDSA, 2 to 3, over another hash", ec, ima.ForV3, ec.value(t, ima.SHA512, "x"), 3, signing.ErrNotOurs},
		{"RSA, 2 to 3, over another hash", r, ima.ForV3, r.value(t, ima.SHA512, "x"), 3, nil},
		{"another key's", ec, ima.ForV3, r.made(t, v2, same), 3, signing.ErrOtherKey},
		{"another key's under its id", ec, ima.ForV3, withID(ec, newKey(t).made(t, v2, same)), 3, signing.ErrNotOurs},
	} {
		k := c.key.purposed(t, c.purpose)
		p, err := k.versioned(t, c.version, 0).Plan(context.Background(), source(file("f", "x", c.have)))
		refuses(t, c.name, err, c.want)
		if err == nil {
			if n := p.Counts(); n.OtherVersion != 1 || n.Signed != 1 || n.Rehashed != 0 {
				t.Errorf("%s: %+v", c.name, n)
			}
			check(t, p.Close())
		}
		fresh := k.made(t, ima.Form{Xattr: v2.Xattr, Type: v2.Type, Version: c.version}, same)
		_, err = apply(t, k, listing(t, lineOf("f", "x", fresh)), false, file("f", "x", c.have))
		refuses(t, c.name+", applied", err, c.want)
		_, err = apply(t, k, listing(t, lineOf("f", "x", fresh)), true, file("f", "x", c.have))
		refuses(t, c.name+", applied by force", err, nil)
	}
}

// withID returns a value with the id of another key.
func withID(k key, value []byte) []byte {
	v, err := ima.Parse(value)
	if err != nil {
		panic(err)
	}
	v.KeyID = k.public.ID()
	return v.Append(nil)
}

// TestRotationBetweenVersions replaces one key's signatures by another key's of another
// version, and the reverse, and leaves the rest.
func TestRotationBetweenVersions(t *testing.T) {
	for name, pair := range map[string][2]key{
		"ECDSA and ML-DSA": {newKey(t), newMLDSA(t, "mldsa65")}, "RSA and ECDSA": {bare(t, newRSA(t)), newKey(t).purposed(t, ima.ForV3)},
	} {
		older, newer := pair[0], pair[1]
		entry := file("f", "x")
		for _, turn := range []struct {
			from, to key
			version  uint8
		}{{to: older, version: 2}, {older, newer, 3}, {newer, older, 2}} {
			var from ima.KeyID
			if turn.from.public != nil {
				from = turn.from.public.ID()
			}
			r := one(t, turn.to.versioned(t, turn.version, from), entry)
			if r.Status() != signing.Signed {
				t.Fatalf("%s: to version %d: %s", name, turn.version, r.Status())
			}
			entry = file("f", "x", r.Final(ima.XattrIMA))
			if r := one(t, turn.to.versioned(t, turn.version, 0), entry); r.Status() != signing.Unchanged {
				t.Errorf("%s: signed again in version %d: %s", name, turn.version, r.Status())
			}
			v := verdict(t, entry, older, newer)
			if v.Outcome != signing.OK || v.KeyID != turn.to.public.ID() || v.Form.Version != turn.version {
				t.Errorf("%s: version %d: %+v", name, turn.version, v.Judged)
			}
		}
	}
	old, k := newKey(t), newKey(t)
	both := k.purposed(t, ima.ForAny)
	_, err := both.versioned(t, 3, old.public.ID()).Plan(context.Background(), source(file("f", "x", k.value(t, ima.SHA256, "x"))))
	if want := "it has a version 2 signature of key " + k.public.ID().String() + " instead of version 3"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a rotation that finds its own version 2: %v", err)
	}
}

// TestEVMOtherVersion signs both values in version 3 that the same ECDSA keys signed in
// version 2: the old security.evm is over the old security.ima.
func TestEVMOtherVersion(t *testing.T) {
	content, metadata := newKey(t), newKey(t)
	in := func(version uint8) *signing.Engine {
		purpose := ima.Unstated
		stages := []signing.Stage{signing.ContentStage(nil, 0), signing.PortableStage(nil, 0, func() ima.EVMTarget { return ima.EVMTarget{} })}
		if version == 3 {
			purpose = ima.ForV3
		}
		for i, k := range []key{content, metadata} {
			k = k.purposed(t, purpose)
			stages[i].Key = &signing.Key{Signer: k.signer(), Public: k.public}
			if version == 3 {
				stages[i] = stages[i].V3()
			}
		}
		return engine(t, signing.Options{Stages: stages})
	}
	e := file("f", "content")
	for _, version := range []uint8{2, 3} {
		p := plan(t, in(version), e)
		r := records(t, p)[0]
		if n := p.Counts(); n.Signed != 1 || n.OtherVersion != int64(version-2) {
			t.Errorf("version %d: %+v", version, n)
		}
		e.Xattrs = r.ByXattr()
		if r := one(t, in(version), e); r.Status() != signing.Unchanged {
			t.Errorf("signed again in version %d: %+v", version, r.Values)
		}
	}
	e.Xattrs[ima.XattrEVM] = with(e.Xattrs[ima.XattrEVM], 1, 2) // not valid, so perhaps somebody else's
	if _, err := in(3).Plan(context.Background(), source(e)); !errors.Is(err, signing.ErrNotOurs) {
		t.Errorf("security.evm of an unknown version 2: %v", err)
	}
}

// TestVersionsInOneQueue signs the same digests in both versions with one key.
func TestVersionsInOneQueue(t *testing.T) {
	k := newKey(t).purposed(t, ima.ForAny)
	signer := &countingSigner{Signer: k.signer()}
	shared := &signing.Key{Signer: signer, Public: k.public}
	stage := signing.ContentStage(shared, 0)
	form, v3 := stage.Form, stage.V3().Form
	stage.Form = func(e *signing.Entry, before []signing.Value) (ima.Form, bool) {
		if e.Size%2 == 0 {
			return v3(e, before)
		}
		return form(e, before)
	}
	e := engine(t, signing.Options{Stages: []signing.Stage{stage}})
	var list []signing.Entry
	for i, content := range []string{"a", "b", "c"} {
		for size := range 4 {
			entry := file(string(rune('a'+i))+string(rune('0'+size)), content)
			entry.Size = int64(size)
			list = append(list, entry)
		}
	}
	for _, r := range records(t, plan(t, e, list...)) {
		v := verdict(t, file("f", r.Path[:1], r.Final(ima.XattrIMA)), k)
		if v.Outcome != signing.OK || v.Form.Version != uint8(3-r.Size%2) {
			t.Errorf("%s: %+v", r.Path, v.Judged)
		}
	}
	if n := signer.digests.Load(); n != 6 {
		t.Errorf("%d signatures for three digests in two versions", n)
	}
}
