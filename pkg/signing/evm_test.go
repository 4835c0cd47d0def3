package signing_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// both is an engine that signs security.ima and security.evm, each with its own key.
type both struct {
	*signing.Engine

	content, metadata key
}

func newBoth(t *testing.T, target ima.EVMTarget) both {
	t.Helper()
	b := both{content: newKey(t), metadata: newKey(t)}
	b.Engine = engine(t, signing.Options{Stages: []signing.Stage{
		signing.ContentStage(&signing.Key{Signer: b.content.signer(), Public: b.content.public}, 0),
		signing.PortableStage(&signing.Key{Signer: b.metadata.signer(), Public: b.metadata.public}, ima.SHA512, func() ima.EVMTarget { return target }),
	}})
	return b
}

func (b both) verify(t *testing.T, e signing.Entry) (verdict signing.Verdict) {
	t.Helper()
	trust := signing.Trust{Ring: ring(b.content), EVM: ring(b.metadata)}
	check(t, b.Verify(context.Background(), source(e), trust, func(v signing.Verdict) error {
		verdict = v
		return nil
	}))
	return verdict
}

// signed returns the entry with the values of its plan.
func (b both) signed(t *testing.T, e signing.Entry) signing.Entry {
	t.Helper()
	r := one(t, b.Engine, e)
	for name, value := range r.ByXattr() {
		if e.Xattrs == nil {
			e.Xattrs = map[string][]byte{}
		}
		e.Xattrs[name] = value
	}
	return e
}

// TestPortableStage signs files for each target, and verifies the value against the digest
// of the metadata in the order and the layout that the kernel uses.
func TestPortableStage(t *testing.T) {
	for _, target := range []ima.EVMTarget{{}, {Bits32: true}, {BigEndian: true}, {Bits32: true, BigEndian: true}} {
		b := newBoth(t, target)
		for _, hashed := range []bool{false, true} {
			e := file("f", "content")
			e.Mode, e.UID, e.GID, e.HashOnly = 0o751, 7, 70000, hashed
			e.Xattrs = map[string][]byte{"security.capability": {1, 2}, "security.selinux": []byte("label\x00"), "security.other": {9}}
			e = b.signed(t, e)
			digest, err := ima.EVMDigest(ima.SHA512, ima.EVMMetadata{EVMTarget: target, Portable: true, UID: 7, GID: 70000, Mode: 0o100751}, e.Xattrs)
			check(t, err)
			_, err = ring(b.metadata).Verify(e.Xattrs[ima.XattrEVM], ima.Statement{Form: ima.PortableSignature(), Hash: ima.SHA512, Digest: digest})
			check(t, err)
			if v := b.verify(t, e); v.Outcome != signing.OK || len(v.Values) != 2 {
				t.Errorf("%v, hashed %v: %+v", target, hashed, v.Values)
			}
		}
	}
}

// TestMetadataChanges checks that a change of each part of the metadata invalidates
// security.evm, and that planning again replaces only that value.
func TestMetadataChanges(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	for name, change := range map[string]func(*signing.Entry){
		"mode":       func(e *signing.Entry) { e.Mode = 0o700 },
		"owner":      func(e *signing.Entry) { e.UID = 1 },
		"group":      func(e *signing.Entry) { e.GID = 1 },
		"capability": func(e *signing.Entry) { delete(e.Xattrs, "security.capability") },
		"label":      func(e *signing.Entry) { e.Xattrs["security.selinux"] = []byte("new") },
	} {
		e := file("f", "content")
		e.Xattrs = map[string][]byte{"security.capability": {1, 2}}
		e = b.signed(t, e)
		if r := one(t, b.Engine, e); r.Status() != signing.Unchanged {
			t.Errorf("signed again: %+v", r.Values)
		}
		change(&e)
		v := b.verify(t, e)
		if v.Outcome != signing.Bad || v.Form.Xattr != ima.XattrEVM || v.Values[0].Outcome != signing.OK {
			t.Errorf("%s: %+v", name, v.Values)
		}
		r := one(t, b.Engine, e)
		if r.Values[0].Status != signing.Unchanged || r.Values[1].Status != signing.Signed {
			t.Errorf("%s: %+v", name, r.Values)
		}
	}
	unlabelled := file("f", "content")
	unlabelled.Xattrs = map[string][]byte{"security.other": {1}}
	unlabelled = b.signed(t, unlabelled)
	unlabelled.Xattrs["security.other"] = []byte{2}
	if v := b.verify(t, unlabelled); v.Outcome != signing.OK {
		t.Errorf("an xattr that EVM does not protect counts: %v", v.Err)
	}
}

// TestEVMKeyring checks that the keys for security.ima are not trusted for security.evm,
// and the reverse.
func TestEVMKeyring(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	e := b.signed(t, file("f", "content"))
	swapped := signing.Trust{Ring: ring(b.metadata), EVM: ring(b.content)}
	for _, trust := range []signing.Trust{swapped, {Ring: ring(b.content, b.metadata)}} {
		check(t, b.Verify(context.Background(), source(e), trust, func(v signing.Verdict) error {
			if evm := v.Values[1]; evm.Outcome != signing.Bad || !errors.Is(evm.Err, ima.ErrUnknownKey) {
				t.Errorf("%+v", evm)
			}
			return nil
		}))
	}
}

// TestDigestUnderEVM checks that a digest in security.ima is accepted only under a valid
// security.evm.
func TestDigestUnderEVM(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	e := file("f", "content")
	e.HashOnly = true
	e = b.signed(t, e)
	e.HashOnly = false
	if v := b.verify(t, e); v.Outcome != signing.OK || v.KeyID != b.metadata.public.ID() || v.Values[0].Outcome != signing.HashedOK {
		t.Errorf("%+v", v.Values)
	}
	moved := e
	moved.UID = 3
	if v := b.verify(t, moved); v.Outcome != signing.Bad || !errors.Is(v.Err, ima.ErrHashOnly) {
		t.Errorf("%+v", v.Values)
	}
	changed := file("f", "other")
	changed.Xattrs = e.Xattrs
	if v := b.verify(t, changed); v.Outcome != signing.Bad || !errors.Is(v.Err, ima.ErrDigestMismatch) {
		t.Errorf("%+v", v.Values)
	}
}

// TestNoContentValue checks that a file without security.ima gets no security.evm.
func TestNoContentValue(t *testing.T) {
	k := newKey(t)
	e := engine(t, signing.Options{Stages: []signing.Stage{
		signing.ContentStage(&signing.Key{Signer: k.signer(), Public: k.public, From: 1}, 0),
		signing.PortableStage(&signing.Key{Signer: k.signer(), Public: k.public}, 0, func() ima.EVMTarget { return ima.EVMTarget{} }),
	}})
	if r := one(t, e, file("f", "content")); r.Status() != signing.Skipped || len(r.Values) != 0 {
		t.Errorf("%+v", r.Values)
	}
}

// TestEVMInput checks that no signature is made of a content that may be the input of an
// EVM digest, in any layout. A digest without a signature is harmless.
func TestEVMInput(t *testing.T) {
	k := newKey(t)
	e := k.engine(t, signing.Options{})
	value := string(ima.DigestValue(ima.SHA256, sum(ima.SHA256, "another file")))
	le, be := "\x01\x00\x00\x00\x02\x00\x00\x00\xed\x81\x00\x00", "\x00\x00\x00\x01\x00\x00\x00\x02\x81\xed\x00\x00"
	for name, misc := range map[string]string{
		"64le": strings.Repeat("\x00", 12) + le, "32le": strings.Repeat("\x00", 8) + le,
		"64be": strings.Repeat("\x00", 12) + be, "32be": strings.Repeat("\x00", 8) + be,
	} {
		entry := file(name, value+misc)
		if _, err := e.Plan(context.Background(), source(entry)); !errors.Is(err, signing.ErrDoubleUse) {
			t.Errorf("%s: %v", name, err)
		}
		read := entry.Open
		entry.Open = func(ctx context.Context) (*signing.File, error) {
			f, err := read(ctx)
			f.ReadCloser = io.NopCloser(iotest.OneByteReader(f.ReadCloser))
			return f, err
		}
		if _, err := e.Plan(context.Background(), source(entry)); !errors.Is(err, signing.ErrDoubleUse) {
			t.Errorf("%s, byte by byte: %v", name, err)
		}
		entry.HashOnly = true
		if r := one(t, e, entry); r.Status() != signing.Hashed {
			t.Errorf("%s: %+v", name, r.Values)
		}
		for i, harmless := range []string{value + misc + "\n", value + strings.Replace(misc, "\x81", "\x41", 1), value + misc[:len(misc)-13] + "x" + misc[len(misc)-12:], strings.Repeat("x", 1<<20) + misc} {
			if r := one(t, e, file(name, harmless)); r.Status() != signing.Signed {
				t.Errorf("%s: content %d: %+v", name, i, r.Values)
			}
		}
	}
}

// TestExplainedMetadata checks that a verification names what changed.
func TestExplainedMetadata(t *testing.T) {
	for name, tc := range map[string]struct {
		signedFor ima.EVMTarget
		change    func(*signing.Entry)
		want      string
	}{
		"mode":       {change: func(e *signing.Entry) { e.Mode |= fs.ModeSetuid }, want: "its mode is 4755, and was 0755"},
		"owner":      {change: func(e *signing.Entry) { e.UID = 5 }, want: "its owner is 5:0, and was 0:0"},
		"capability": {change: func(e *signing.Entry) { e.Xattrs["security.capability"] = []byte{1} }, want: "it had no security.capability"},
		"target":     {signedFor: ima.EVMTarget{Bits32: true}, change: func(*signing.Entry) {}, want: "it was signed for 32-bit little-endian kernels, not for 64-bit little-endian ones"},
		"unknown":    {change: func(e *signing.Entry) { e.UID, e.GID = 77, 78; e.Mode = 0o123 }},
	} {
		b := newBoth(t, tc.signedFor)
		e := b.signed(t, file("f", "content"))
		tc.change(&e)
		b.Engine = engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(nil, 0), signing.PortableStage(nil, 0, func() ima.EVMTarget { return ima.EVMTarget{} })}})
		v := b.verify(t, e)
		if v.Outcome != signing.Bad || !errors.Is(v.Err, ima.ErrBadSignature) || !strings.Contains(v.Err.Error(), tc.want) || tc.want == "" && strings.Contains(v.Err.Error(), "signed") {
			t.Errorf("%s: %v", name, v.Err)
		}
	}
}

// TestMetadataThatCannotBe checks that files get no security.evm if the target cannot have
// the metadata that the container states.
func TestMetadataThatCannotBe(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	for want, change := range map[string]func(*signing.Entry){
		"security.capability differently": func(e *signing.Entry) { e.Second = map[string][]byte{"security.capability": nil} },
		"security.selinux has 65537 bytes": func(e *signing.Entry) {
			e.Xattrs = map[string][]byte{"security.selinux": make([]byte, 1<<16+1)}
		},
		"the owner 4294967295:0": func(e *signing.Entry) { e.UID = 1<<32 - 1 },
		"the owner 0:4294967295": func(e *signing.Entry) { e.GID = 1<<32 - 1 },
	} {
		e := file("f", "content")
		change(&e)
		if _, err := b.Plan(context.Background(), source(e)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	largest := file("f", "content")
	largest.Xattrs = map[string][]byte{"security.selinux": make([]byte, 1<<16)}
	if v := b.verify(t, b.signed(t, largest)); v.Outcome != signing.OK {
		t.Errorf("%v", v.Err)
	}
}

// TestEmptyXattrs checks that an empty security.ima or security.evm counts as none.
func TestEmptyXattrs(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	e := file("f", "content")
	e.Xattrs = map[string][]byte{ima.XattrIMA: {}, ima.XattrEVM: {}, "security.capability": {}}
	r := one(t, b.Engine, e)
	if len(r.Values) != 2 || r.Values[0].Status != signing.Signed || r.Values[1].Status != signing.Signed {
		t.Errorf("%+v", r.Values)
	}
	only := engine(t, signing.Options{Stages: []signing.Stage{
		signing.PortableStage(&signing.Key{Signer: b.metadata.signer(), Public: b.metadata.public}, 0, func() ima.EVMTarget { return ima.EVMTarget{} }),
	}})
	if r := one(t, only, e); len(r.Values) != 0 {
		t.Errorf("security.evm over an empty security.ima: %+v", r.Values)
	}
}

// TestOpenFileXattrs checks that the xattrs of the open file are signed, not those of the
// listing.
func TestOpenFileXattrs(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	e, read := file("f", "content"), file("f", "content").Open
	e.Xattrs = map[string][]byte{"security.selinux": []byte("listed")}
	e.Open = func(ctx context.Context) (*signing.File, error) {
		f, err := read(ctx)
		f.Xattrs = map[string][]byte{"security.selinux": []byte("open")}
		return f, err
	}
	r := one(t, b.Engine, e)
	now := file("f", "content")
	now.Xattrs = r.ByXattr()
	now.Xattrs["security.selinux"] = []byte("open")
	if v := b.verify(t, now); v.Outcome != signing.OK {
		t.Errorf("%v", v.Err)
	}
}

// TestRotationUnderEVM checks which values a rotation replaces. A file that keeps its
// security.ima keeps its security.evm, even if it has none.
func TestRotationUnderEVM(t *testing.T) {
	old, b := newBoth(t, ima.EVMTarget{}), newBoth(t, ima.EVMTarget{})
	rotating := func(content, metadata key, from ima.KeyID) *signing.Engine {
		return engine(t, signing.Options{Stages: []signing.Stage{
			signing.ContentStage(&signing.Key{Signer: content.signer(), Public: content.public, From: from}, 0),
			signing.PortableStage(&signing.Key{Signer: metadata.signer(), Public: metadata.public, From: from}, ima.SHA512, func() ima.EVMTarget { return ima.EVMTarget{} }),
		}})
	}
	statuses := func(r signing.Record) (list []signing.Status) {
		for _, v := range r.Values {
			list = append(list, v.Status)
		}
		return list
	}
	hashed := file("hashed", "content")
	hashed.Xattrs = map[string][]byte{ima.XattrIMA: ima.DigestValue(ima.SHA256, sum(ima.SHA256, "content"))}
	onlyIMA := old.signed(t, file("only IMA", "content"))
	delete(onlyIMA.Xattrs, ima.XattrEVM)
	for _, tc := range []struct {
		name              string
		entry             signing.Entry
		content, metadata key
		from              ima.KeyID
		want              []signing.Status
	}{
		{"unsigned", file("f", "content"), b.content, b.metadata, old.content.public.ID(), nil},
		{"a digest", hashed, b.content, b.metadata, old.content.public.ID(), nil},
		{"the key of security.ima", old.signed(t, file("f", "content")), b.content, old.metadata, old.content.public.ID(), []signing.Status{signing.Signed, signing.Signed}},
		{"the key of security.evm", old.signed(t, file("f", "content")), old.content, b.metadata, old.metadata.public.ID(), []signing.Status{signing.Unchanged, signing.Signed}},
		{"no security.evm yet", onlyIMA, b.content, b.metadata, old.content.public.ID(), []signing.Status{signing.Signed}},
	} {
		if r := one(t, rotating(tc.content, tc.metadata, tc.from), tc.entry); !slices.Equal(statuses(r), tc.want) {
			t.Errorf("%s: %v", tc.name, statuses(r))
		}
	}
	_, err := rotating(b.content, b.metadata, old.content.public.ID()).Plan(context.Background(), source(old.signed(t, file("f", "content"))))
	if !errors.Is(err, signing.ErrOtherKey) {
		t.Errorf("a security.evm of a third key: %v", err)
	}
}

// TestDryRunUnderEVM checks that a dry run without the key for security.ima refuses the
// values of security.evm that signing would refuse.
func TestDryRunUnderEVM(t *testing.T) {
	old, b := newBoth(t, ima.EVMTarget{}), newBoth(t, ima.EVMTarget{})
	dry := func(force bool) *signing.Engine {
		return engine(t, signing.Options{Force: force, Stages: []signing.Stage{
			signing.ContentStage(nil, 0),
			signing.PortableStage(&signing.Key{Public: b.metadata.public}, 0, func() ima.EVMTarget { return ima.EVMTarget{} }),
		}})
	}
	theirs := file("f", "content")
	theirs.Xattrs = map[string][]byte{ima.XattrEVM: old.signed(t, file("f", "content")).Xattrs[ima.XattrEVM]}
	if _, err := dry(false).Plan(context.Background(), source(theirs)); !errors.Is(err, signing.ErrOtherKey) {
		t.Errorf("got %v", err)
	}
	for _, e := range []*signing.Engine{dry(true), b.Engine} {
		if theirs.Xattrs = nil; e != b.Engine {
			theirs.Xattrs = old.signed(t, file("f", "content")).Xattrs
		}
		if r := one(t, e, theirs); len(r.Values) != 2 || r.Values[1].Status != signing.Signed {
			t.Errorf("%+v", r.Values)
		}
	}
}

// TestDigestInEVM checks that a digest in security.evm is no signature, even if a manifest
// states it.
func TestDigestInEVM(t *testing.T) {
	b := newBoth(t, ima.EVMTarget{})
	e := b.signed(t, file("f", "content"))
	digest, err := ima.EVMDigest(ima.SHA256, ima.EVMMetadata{Portable: true, Mode: 0o100755}, e.Xattrs)
	check(t, err)
	e.Xattrs[ima.XattrEVM] = ima.DigestValue(ima.SHA256, digest)
	if v := b.verify(t, e); v.Outcome != signing.Bad || errors.Is(v.Err, ima.ErrHashOnly) {
		t.Errorf("%v", v.Err)
	}
	line := manifest.Line{Path: "f", Kind: "file", Size: e.Size, Mode: 0o755, Hash: ima.SHA256, Digest: sum(ima.SHA256, "content"), Xattrs: e.Xattrs}
	trust := signing.Trust{Ring: ring(b.content), EVM: ring(b.metadata), Index: listing(t, line)}
	plan, err := b.Apply(context.Background(), source(file("f", "content")), trust)
	if err == nil {
		check(t, plan.Close())
		t.Error("a digest was applied to security.evm")
	}
	check(t, b.Verify(context.Background(), source(e), trust, func(v signing.Verdict) error {
		if v.Outcome != signing.Bad {
			t.Errorf("%+v", v.Values)
		}
		return nil
	}))
}

// TestFailureBetweenTheStages checks that there is no plan if the key for security.evm
// fails, or the context is cancelled, after security.ima was signed.
func TestFailureBetweenTheStages(t *testing.T) {
	content, metadata := newKey(t), newKey(t)
	failure := errors.New("the token was removed")
	for _, cancelled := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(t.Context())
		failing := signerFunc(func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) {
			if cancelled {
				cancel(failure)
				<-ctx.Done()
			}
			return nil, failure
		})
		e := engine(t, signing.Options{Stages: []signing.Stage{
			signing.ContentStage(&signing.Key{Signer: content.signer(), Public: content.public}, 0),
			signing.PortableStage(&signing.Key{Signer: failing, Public: metadata.public}, 0, func() ima.EVMTarget { return ima.EVMTarget{} }),
		}})
		if _, err := e.Plan(ctx, source(file("a", "1"), file("b", "2"))); !errors.Is(err, failure) {
			t.Errorf("cancelled %v: %v", cancelled, err)
		}
		cancel(nil)
	}
}

// TestFileID checks that no version 2 signature is made of a content that is a file_id, which
// version 3 signatures are over. Version 3 signs it.
func TestFileID(t *testing.T) {
	k := newKey(t)
	entry := file("f", "\x03\x04"+string(sum(ima.SHA256, "another file")))
	if _, err := k.engine(t, signing.Options{}).Plan(context.Background(), source(entry)); !errors.Is(err, signing.ErrDoubleUse) {
		t.Errorf("got %v", err)
	}
	v3, err := k.public.For(ima.ForV3)
	check(t, err)
	stage := signing.ContentStage(&signing.Key{Signer: k.signer(), Public: v3}, ima.SHA256).V3()
	e, err := signing.New(signing.Options{Stages: []signing.Stage{stage}})
	check(t, err)
	if r := one(t, e, entry); r.Status() != signing.Signed || r.Values[0].Form != ima.ContentSignature().V3() || r.Values[0].Bytes[1] != 3 {
		t.Errorf("got %+v", r.Values)
	}
}

// TestStatedDoubleUse checks that a container that states digests is asked before a version 2
// signature is made or accepted, and only then.
func TestStatedDoubleUse(t *testing.T) {
	k, broken := newKey(t), errors.New("broken payload")
	digest := signing.Digest{Hash: ima.SHA256, Sum: sum(ima.SHA256, "x")}
	entry := func(found bool, err error, ima ...[]byte) signing.Entry {
		return signing.Entry{Path: "f", Mode: 0o644, Digests: []signing.Digest{digest}, Xattrs: xattrs(ima...),
			DoubleUse: func() (bool, error) { return found, err }}
	}
	e := k.engine(t, signing.Options{})
	signed := k.value(t, ima.SHA256, "x")
	for _, c := range []struct {
		found     bool
		err, want error
	}{{true, nil, signing.ErrDoubleUse}, {false, broken, broken}, {false, nil, nil}} {
		for _, old := range [][][]byte{nil, {signed}} {
			if _, err := e.Plan(context.Background(), source(entry(c.found, c.err, old...))); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		}
		check(t, e.Verify(context.Background(), source(entry(c.found, c.err, signed)), signing.Trust{Ring: ima.NewKeyring(k.public)}, func(v signing.Verdict) error {
			if !errors.Is(v.Err, c.want) || v.Outcome.Wrong() != (c.want != nil) {
				t.Errorf("%s: %v, want %v", v.Outcome, v.Err, c.want)
			}
			return nil
		}))
	}
	v3, err := k.public.For(ima.ForV3)
	check(t, err)
	stage := signing.ContentStage(&signing.Key{Signer: k.signer(), Public: v3}, ima.SHA256).V3()
	e, err = signing.New(signing.Options{Stages: []signing.Stage{stage}})
	check(t, err)
	if r := one(t, e, entry(true, broken)); r.Status() != signing.Signed {
		t.Errorf("version 3: %s", r.Status())
	}
}
