package approval_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// find looks for one manifest, until it is as wanted: new files count after half a second.
func find(t *testing.T, s *approval.Store, w approval.Want, there bool) (*approval.Manifest, string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		found, why := s.Find(t.Context(), w, now)
		s.Settle(t.Context())
		switch {
		case len(found) == 1 && there:
			return found[0], why
		case len(found) == 0 && !there:
			return nil, why
		case time.Now().After(end):
			t.Fatalf("found %d manifests (%s)", len(found), why)
		}
	}
}

func TestTwoOfThree(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	sum := f.manifest(release(t))
	s, _ := f.open()
	_, why := s.Find(t.Context(), want(t), now)
	if why != `nobody has approved a manifest of "release" for this key, form and hash` {
		t.Error(why)
	}
	f.approve("alice", sum, nil)
	f.approve("alice", sum, func(a *protocol.Approval) { a.Made++ }) // counts once
	s, warned := f.open()
	_, why = find(t, s, want(t), false)
	if !strings.HasSuffix(why, `… of "release" has 1 of 2 approvals`) {
		t.Error(why)
	}
	second := f.approve("carol", sum, nil)
	m, _ := find(t, s, want(t), true)
	for i, is := range []bool{false, true, true, true, false} {
		if m.Has(content(), digest(i)) != is {
			t.Errorf("digest %d is there: %t", i, !is)
		}
	}
	for _, k := range []approval.Kind{{Form: ima.ContentSignature(), Hash: ima.SHA512}, {Form: ima.VeritySignature(), Hash: ima.SHA256}, {Form: ima.PortableSignature(), Hash: ima.SHA256}} {
		if m.Has(k, digest(1)) {
			t.Errorf("digest 1 is there for %+v", k)
		}
	}
	if m.Has(content(), digest(1)[:16]) || m.Has(content(), nil) || m.Sum != sum {
		t.Error("a part of a digest is there")
	}
	check(t, os.Remove(second)) // withdrawn
	find(t, s, want(t), false)
	if warned() != "" {
		t.Error(warned())
	}
}

func TestApprovalsForOthers(t *testing.T) {
	for name, change := range map[string]func(*protocol.Approval){
		"key":         func(a *protocol.Approval) { a.SPKI = bytes.Repeat([]byte{1}, 32) },
		"version":     func(a *protocol.Approval) { a.Signature = 3 },
		"xattr":       func(a *protocol.Approval) { a.Type = 5 },
		"hash":        func(a *protocol.Approval) { a.Hash = uint8(ima.SHA512) },
		"origin":      func(a *protocol.Approval) { a.Origin = "Release" },
		"manifest":    func(a *protocol.Approval) { a.Manifest = bytes.Repeat([]byte{1}, 32) },
		"expired":     func(a *protocol.Approval) { a.NotAfter = now.Unix() - 1 },
		"from future": func(a *protocol.Approval) { a.Made = now.Unix() + 301 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFolder(t)
			sum := f.manifest(release(t))
			f.approve("alice", sum, nil)
			f.approve("bob", sum, change)
			s, _ := f.open()
			found, why := s.Find(t.Context(), want(t), now)
			if len(found) != 0 || !strings.Contains(why, "has 1 of 2 approvals") || strings.Contains(why, "another one expired at ") != (name == "expired") {
				t.Errorf("found %d (%s)", len(found), why)
			}
			f.approve("carol", sum, nil)
			s, _ = f.open()
			if found, _ := s.Find(t.Context(), want(t), now); len(found) != 1 {
				t.Error("two good approvals do not suffice")
			}
			w := want(t)
			w.By = []string{"alice", "bob"}
			if found, _ := s.Find(t.Context(), w, now); len(found) != 0 {
				t.Error("carol's approval counts, too")
			}
			if found, why := s.Find(t.Context(), want(t), now.Add(time.Hour+time.Second)); len(found) != 0 || !strings.Contains(why, "expired") {
				t.Errorf("an hour later: %d (%s)", len(found), why)
			}
		})
	}
}

// TestFilesThatDoNotCount checks what is said about wrong files, and that they do no harm.
func TestFilesThatDoNotCount(t *testing.T) {
	f := newFolder(t)
	good := release(t)
	sum := f.manifest(good)
	f.approve("alice", sum, nil)
	f.approve("bob", sum, nil)
	f.approve("stranger", sum, nil)
	path := f.approve("carol", sum, func(a *protocol.Approval) { a.Made-- })
	changed, err := os.ReadFile(path)
	check(t, err)
	changed[len(changed)-1] ^= 1
	check(t, os.WriteFile(f.path("changed.approval"), changed, 0o644))
	check(t, os.WriteFile(f.path("cut.approval"), changed[:40], 0o644))
	check(t, os.WriteFile(f.path("long.approval"), make([]byte, protocol.MaxApproval+1), 0o644))
	check(t, os.Symlink(path, f.path("link.approval")))
	check(t, os.Mkdir(f.path("directory.approval"), 0o755))
	s, warned := f.open()
	find(t, s, want(t), true)
	for _, words := range []string{"stranger", "changed.approval does not count: no approver of the configuration signed it", "cut.approval does not count: not a valid message", "long.approval does not count", "link.approval does not count: not a regular file", "directory.approval does not count"} {
		if !strings.Contains(warned(), words) {
			t.Errorf("no %q in\n%s", words, warned())
		}
	}
	if n := strings.Count(warned(), "\n"); n != 6 {
		t.Errorf("%d warnings:\n%s", n, warned())
	}
}

// TestManifestsThatAreNotRead has what no manifest is under the names of approved ones: they are named, and
// nobody waits for them.
func TestManifestsThatAreNotRead(t *testing.T) {
	t.Parallel()
	for words, make := range map[string]func(path string) error{
		": too large for a file of this kind: it has 1073741825 bytes, at most 1073741824 are read": func(path string) error { return os.Truncate(path, approval.MaxManifest+1) },
		": not a regular file": func(path string) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		},
	} {
		f := newFolder(t)
		sum := f.manifest(release(t))
		name := hex.EncodeToString(sum[:]) + ".manifest"
		check(t, make(f.path(name)))
		f.approve("alice", sum, nil)
		f.approve("bob", sum, nil)
		s, warned := f.open()
		if found, _ := s.Find(t.Context(), want(t), now); len(found) != 0 || !strings.Contains(warned(), name+" does not count"+words) {
			t.Errorf("found %d; %s", len(found), warned())
		}
	}
}

// TestAlteredManifest checks that a manifest counts only with the content that was approved,
// also if it changes while the store is open, and again if it is put back.
func TestAlteredManifest(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	good := release(t)
	sum := f.manifest(good)
	name := f.path(hex.EncodeToString(sum[:]) + ".manifest")
	f.approve("alice", sum, nil)
	f.approve("bob", sum, nil)
	s, warned := f.open()
	find(t, s, want(t), true)
	altered := text(t, tree(), file("a", 1), file("b", 2), file("c", 9))
	check(t, os.WriteFile(name, altered, 0o644))
	_, why := find(t, s, want(t), false)
	if !strings.HasSuffix(why, `of "release" is approved, but its file is missing or does not count`) || !strings.Contains(warned(), "its content does not have the hash that its name states") {
		t.Errorf("%s\n%s", why, warned())
	}
	check(t, os.WriteFile(name, good[:len(good)/2], 0o644)) // a copy that has not ended
	find(t, s, want(t), false)
	check(t, os.WriteFile(name, good, 0o644))
	find(t, s, want(t), true)
	check(t, os.Remove(name))
	find(t, s, want(t), false)
}

// TestManifestsWithSignatures checks that the store believes only the one encoding without them,
// even if approvers signed the hash of another one.
func TestManifestsWithSignatures(t *testing.T) {
	signed := file("a", 1)
	signed.Xattrs, signed.KeyID = map[string][]byte{ima.XattrIMA: {3, 2, 4, 1, 2, 3, 4, 0, 1, 9}}, 0x01020304
	header := tree()
	header.KeyID = 1
	for name, content := range map[string][]byte{
		"values": text(t, tree(), signed), "key id": text(t, header, file("a", 1)), "no manifest": []byte("a\n"),
		"spaces": bytes.Replace(release(t), []byte(`,"size"`), []byte(`, "size"`), 1), "cut": release(t)[:300],
	} {
		f := newFolder(t)
		sum := f.manifest(content)
		f.approve("alice", sum, nil)
		f.approve("bob", sum, nil)
		s, warned := f.open()
		if found, _ := s.Find(t.Context(), want(t), now); len(found) != 0 || !strings.Contains(warned(), ".manifest does not count: ") {
			t.Errorf("%s: found %d; %s", name, len(found), warned())
		}
		again, err := approval.Strip(bytes.NewReader(content), new(bytes.Buffer))
		if stripped := name == "values" || name == "key id"; stripped != (err == nil) || again == sum {
			t.Errorf("%s: Strip: %v", name, err)
		}
	}
}

// TestSeveralKinds checks that each approval counts for its form and hash alone.
func TestSeveralKinds(t *testing.T) {
	f := newFolder(t)
	verity := file("b", 2)
	v := manifest.DefaultVerity()
	verity.Verity = &v
	long := file("c", 3)
	long.Hash, long.Digest = ima.SHA512, bytes.Repeat([]byte{3}, 64)
	skipped, hashed := file("d", 4), file("e", 5)
	skipped.Unsigned, hashed.Unsigned = "not selected", "hash only"
	link := manifest.Line{Path: "f", Kind: "symlink", Mode: 0o777, Target: "a"}
	sum := f.manifest(text(t, manifest.Header{Container: manifest.Tree}, file("a", 1), verity, long, skipped, hashed, link))
	contentV3 := approval.Kind{Form: ima.ContentSignature().V3(), Hash: ima.SHA256}
	overVerity := approval.Kind{Form: ima.VeritySignature(), Hash: ima.SHA256}
	sha512 := approval.Kind{Form: ima.ContentSignature(), Hash: ima.SHA512}
	for _, k := range []approval.Kind{contentV3, overVerity, sha512} {
		for _, name := range []string{"alice", "bob"} {
			f.approve(name, sum, func(a *protocol.Approval) {
				a.Type, a.Signature, a.Hash = uint8(k.Form.Type), k.Form.Version, uint8(k.Hash)
			})
		}
	}
	s, warned := f.open()
	w := want(t)
	if found, _ := s.Find(t.Context(), w, now); len(found) != 0 {
		t.Error("approved for version 3 only")
	}
	for _, c := range []struct {
		kind   approval.Kind
		digest []byte
	}{{contentV3, digest(1)}, {overVerity, digest(2)}, {sha512, long.Digest}} {
		w.Kind = c.kind
		found, why := s.Find(t.Context(), w, now)
		if len(found) != 1 {
			t.Fatalf("%+v: %s; %s", c.kind, why, warned())
		}
		for i := range 6 {
			if want := bytes.Equal(digest(i), c.digest); found[0].Has(c.kind, digest(i)) != want {
				t.Errorf("%+v: digest %d is there: %t", c.kind, i, !want)
			}
		}
		if !found[0].Has(c.kind, c.digest) {
			t.Errorf("%+v: its digest is not there", c.kind)
		}
	}
}

func TestApproversThatAreRefused(t *testing.T) {
	alice, bob := who(t, "alice").public, who(t, "bob").public
	bare, err := ima.BareKey(alice.Public())
	check(t, err)
	taken := map[[sha256.Size]byte]string{spki(t, "bob"): "the requester ci"}
	for words, list := range map[string][]approval.Approver{
		`approver "": the name is empty or repeated`:                                                   {{"", alice}},
		`approver "a": the name is empty or repeated`:                                                  {{"a", alice}, {"a", bob}},
		`approver "a": no certificate`:                                                                 {{"a", bare}},
		`approver "b": the key is that of approver "a", too`:                                           {{"a", alice}, {"b", alice}},
		`approver "b": an approver needs a key of their own: the key is also that of the requester ci`: {{"a", alice}, {"b", bob}},
	} {
		_, err := approval.Open(t.Context(), t.TempDir(), approval.Options{Approvers: list, Taken: taken})
		if err == nil || err.Error() != words && !strings.HasPrefix(err.Error(), words) {
			t.Errorf("got %v, want %s", err, words)
		}
	}
	if _, err := approval.Open(t.Context(), t.TempDir()+"/none", approval.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := newFolder(t)
	f.approve("alice", f.manifest(release(t)), nil)
	if _, err := approval.Open(ctx, f.dir, approval.Options{Approvers: []approval.Approver{{"alice", alice}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestDirectoryThatGoes checks that nothing is approved where nothing can be read.
func TestDirectoryThatGoes(t *testing.T) {
	t.Parallel()
	f := newFolder(t)
	sum := f.manifest(release(t))
	f.approve("alice", sum, nil)
	f.approve("bob", sum, nil)
	s, warned := f.open()
	find(t, s, want(t), true)
	check(t, os.Rename(f.dir, f.dir+".away"))
	find(t, s, want(t), false)
	if !strings.Contains(warned(), "read approvals: open ") {
		t.Error(warned())
	}
	check(t, os.Rename(f.dir+".away", f.dir))
	find(t, s, want(t), true)
}
