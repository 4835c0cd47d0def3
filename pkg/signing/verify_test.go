package signing_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// verdict verifies one entry without a manifest.
func verdict(t *testing.T, entry signing.Entry, keys ...key) signing.Verdict {
	t.Helper()
	return verdicts(t, engine(t, signing.Options{}), source(entry), ring(keys...), nil)[0]
}

func TestVerifyOutcomes(t *testing.T) {
	k, other := newKey(t), newKey(t)
	mine, sha512 := k.value(t, ima.SHA256, "x"), k.value(t, ima.SHA512, "x")
	digest := func(h ima.HashID, content string) []byte { return ima.DigestValue(h, sum(h, content)) }
	md5 := append(append([]byte{1}, sum(ima.MD5, "x")...), 0, 0, 0, 0) // padded as the kernel expects
	sm3 := ima.DigestValue(ima.SM3, make([]byte, 32))
	for _, c := range []struct {
		name     string
		value    []byte
		hashOnly bool
		outcome  signing.Outcome
		err      error // with the content
		stated   error // with a stated SHA-256 digest; nil if the same
	}{
		{"ours", mine, false, signing.OK, nil, nil},
		{"ours over SHA-512", sha512, false, signing.OK, nil, signing.ErrOtherHash},
		{"none", nil, false, signing.Unsigned, signing.ErrUnsigned, nil},
		{"of other content", k.value(t, ima.SHA256, "y"), false, signing.Bad, ima.ErrBadSignature, nil},
		{"of a stranger", other.value(t, ima.SHA256, "x"), false, signing.Bad, ima.ErrUnknownKey, nil},
		{"cut", mine[:30], false, signing.Bad, ima.ErrTruncated, nil},
		{"a digest", digest(ima.SHA256, "x"), false, signing.Bad, ima.ErrHashOnly, nil},
		{"a digest, as asked for", digest(ima.SHA256, "x"), true, signing.HashedOK, nil, nil},
		{"a digest of other content", digest(ima.SHA256, "y"), true, signing.Bad, ima.ErrDigestMismatch, nil},
		{"a SHA-1 digest, as asked for", append([]byte{1}, sum(ima.SHA1, "x")...), true, signing.HashedOK, nil, signing.ErrOtherHash},
		{"an MD5 digest, as asked for", md5, true, signing.HashedOK, nil, signing.ErrOtherHash},
		{"a hash that nothing computes", sm3, true, signing.Bad, ima.ErrUnknownHash, signing.ErrOtherHash},
		{"a value of security.evm", append([]byte{5}, mine[1:]...), false, signing.Bad, ima.ErrEVMValue, nil},
	} {
		entry := file("f", "x", c.value)
		entry.HashOnly = c.hashOnly
		v := verdict(t, entry, k)
		if v.Outcome != c.outcome || !errors.Is(v.Err, c.err) || v.Outcome.Wrong() != (c.err != nil) {
			t.Errorf("%s: %s, %v", c.name, v.Outcome, v.Err)
		}
		entry = stated("f", ima.SHA256, "x", c.value)
		entry.HashOnly = c.hashOnly
		want, err := c.outcome, c.err
		if c.stated != nil {
			want, err = signing.Bad, c.stated
		}
		if v := verdict(t, entry, k); v.Outcome != want || !errors.Is(v.Err, err) {
			t.Errorf("%s, stated: %s, %v", c.name, v.Outcome, v.Err)
		} else if c.stated != nil && !strings.Contains(v.Err.Error(), "the stated digest is sha256") {
			t.Errorf("%s, stated: %v", c.name, v.Err)
		}
	}
	if v := verdict(t, file("f", "x", mine), k); v.KeyID != k.public.ID() {
		t.Errorf("key id %s", v.KeyID)
	}
	if v := verdict(t, signing.Entry{Path: "d", Reason: "directory"}, k); v.Outcome != signing.Ignored || v.Reason != "directory" {
		t.Errorf("unselected: %+v", v)
	}
}

func TestVerifyStopsWhenItsReportFails(t *testing.T) {
	noGoroutinesLeft(t)
	k := newKey(t)
	err := engine(t, signing.Options{}).Verify(context.Background(), source(many(3000, 1)...), signing.Trust{Ring: ring(k)}, func(signing.Verdict) error { return errBroken })
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// outcomes returns each verdict as "path outcome".
func outcomes(all []signing.Verdict) (out []string) {
	for _, v := range all {
		out = append(out, fmt.Sprintf("%s %s", v.Path, v.Outcome))
	}
	return out
}

func TestVerifyAgainstAManifest(t *testing.T) {
	k := newKey(t)
	e := engine(t, signing.Options{})
	value := func(content string) []byte { return k.value(t, ima.SHA256, content) }
	hashed := func(content string) []byte { return ima.DigestValue(ima.SHA256, sum(ima.SHA256, content)) }
	signed, hashOnly := file("a", "a", value("a")), file("h", "h", hashed("h"))
	hashOnly.HashOnly = true
	left, dir := file("u", "u"), signing.Entry{Path: "z", Mode: fs.ModeDir | 0o755, Reason: "directory"}
	x := indexOf(t, plan(t, k.engine(t, signing.Options{}), signed, hashOnly, signing.Entry{Path: "u", Mode: 0o755, Reason: "excluded"}, dir), "tree")
	digests := indexOf(t, plan(t, e, file("a", "a"), left), "tree")

	plain := file("h", "h", hashed("h")) // the manifest asks for only a digest, the Source does not
	good := []signing.Entry{signed, plain, left, dir}
	with := func(i int, change func(*signing.Entry)) []signing.Entry {
		list := slices.Clone(good)
		change(&list[i])
		return list
	}
	for _, c := range []struct {
		name string
		list []signing.Entry
		want string // of the one that is wrong; "" for none
	}{
		{"as it was", good, ""},
		{"signed anew, other bytes", with(0, func(e *signing.Entry) { e.Xattrs = xattrs(k.value(t, ima.SHA512, "a")) }), "a: does not match the manifest: it has another security.ima"},
		{"signed anew, other content", with(0, func(e *signing.Entry) { *e = file("a", "b", value("b")) }), "a: does not match the manifest: its content has changed"},
		{"signed anew, other content and hash", with(0, func(e *signing.Entry) { *e = file("a", "b", k.value(t, ima.SHA512, "b")) }), "a: does not match the manifest: its content has changed"},
		{"no longer signed", with(0, func(e *signing.Entry) { e.Xattrs = nil }), "a: no security.ima"},
		{"another digest", with(1, func(e *signing.Entry) { *e = file("h", "i", hashed("i")) }), "h: does not match the manifest: its content has changed"},
		{"mode", with(0, func(e *signing.Entry) { e.Mode = 0o700 }), "a: does not match the manifest: its mode is 0700, not 0755"},
		{"owner", with(0, func(e *signing.Entry) { e.GID = 3 }), "a: does not match the manifest: its owner is 0:3, not 0:0"},
		{"kind", with(3, func(e *signing.Entry) { e.Mode = 0o755; e.Reason = "x" }), "z: does not match the manifest: it is a file, not a directory"},
		{"one more", slices.Insert(slices.Clone(good), 1, file("b", "b", value("b"))), "b: does not match the manifest: the manifest does not list it"},
		{"one fewer", good[1:], "a: does not match the manifest: it is missing"},
		{"stated", with(0, func(e *signing.Entry) { *e = stated("a", ima.SHA256, "a", value("a")) }), "a: does not match the manifest: it has another security.ima"},
		{"stated over another hash", with(0, func(e *signing.Entry) { *e = stated("a", ima.SHA512, "a", k.value(t, ima.SHA512, "a")) }), "a: does not match the manifest: it has a sha512 digest, but the manifest states a sha256 digest"},
		{"stated, as it was", with(0, func(e *signing.Entry) { *e = stated("a", ima.SHA256, "a", signed.Xattrs[ima.XattrIMA]) }), ""},
	} {
		var wrong []string
		for _, v := range verdicts(t, e, source(c.list...), ring(k), x) {
			if v.Outcome.Wrong() {
				wrong = append(wrong, fmt.Sprintf("%s: %v", v.Path, v.Err))
			}
		}
		if c.name == "stated" && deterministic(value) { // then the value is the same
			continue
		}
		if strings.Join(wrong, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, wrong, c.want)
		}
	}
	got := outcomes(verdicts(t, e, source(good...), ring(k), x))
	if want := []string{"a ok", "h hashed", "u ignored", "z ignored"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// With a manifest that has only digests, content is compared and nothing need be
	// signed. A file that is signed with another hash is digested twice.
	list := []signing.Entry{file("a", "a", k.value(t, ima.SHA512, "a")), file("u", "u")}
	if got := outcomes(verdicts(t, e, source(list...), ring(k), digests)); !slices.Equal(got, []string{"a ok", "u ignored"}) {
		t.Errorf("only digests: %q", got)
	}
	list = []signing.Entry{file("a", "b", k.value(t, ima.SHA512, "b")), file("u", "v")}
	if got := outcomes(verdicts(t, e, source(list...), ring(k), digests)); !slices.Equal(got, []string{"a bad", "u bad"}) {
		t.Errorf("only digests, other content: %q", got)
	}
}

func deterministic(value func(string) []byte) bool { return slices.Equal(value("a"), value("a")) }

// TestVerifyHardLinks checks that a name that became a hard link of another signed file
// does not match the manifest.
func TestVerifyHardLinks(t *testing.T) {
	k := newKey(t)
	e := engine(t, signing.Options{})
	a, b := file("a", "a"), file("b", "b")
	apart := indexOf(t, plan(t, k.engine(t, signing.Options{}), a, b), "tree")
	a = file("a", "a", k.value(t, ima.SHA256, "a"))
	a.Group = "a"
	link := signing.Entry{Path: "b", Mode: 0o755, Group: "a"}
	together := indexOf(t, plan(t, k.engine(t, signing.Options{}), a, link), "tree")
	if got := outcomes(verdicts(t, e, source(a, link), ring(k), together)); !slices.Equal(got, []string{"a ok", "b ok"}) {
		t.Errorf("got %q", got)
	}
	if got := outcomes(verdicts(t, e, source(a, link), ring(k), apart)); !slices.Equal(got, []string{"a ok", "b bad"}) {
		t.Errorf("linked since: got %q", got)
	}
	a.Xattrs = nil
	if got := outcomes(verdicts(t, e, source(a, link), ring(k), nil)); !slices.Equal(got, []string{"a unsigned", "b unsigned"}) {
		t.Errorf("unsigned: got %q", got)
	}
}

// TestVerifyRepeatedPaths checks that the n-th entry of a path in a tar is compared with
// the n-th line of that path.
func TestVerifyRepeatedPaths(t *testing.T) {
	k := newKey(t)
	e := engine(t, signing.Options{})
	one, two := file("a", "1", k.value(t, ima.SHA256, "1")), file("a", "2", k.value(t, ima.SHA256, "2"))
	last := signing.Entry{Path: "a", Mode: fs.ModeSymlink | 0o777, Reason: "symlink"}
	x := indexOf(t, plan(t, k.engine(t, signing.Options{}), one, two, last), "tar")
	for want, list := range map[string][]signing.Entry{
		"a ok, a ok, a ignored":        {one, two, last},
		"a bad, a bad, a ignored":      {two, one, last},
		"a ok, a ok, a bad":            {one, two},
		"a ok, a ok, a ignored, a bad": {one, two, last, two},
	} {
		if got := strings.Join(outcomes(verdicts(t, e, source(list...), ring(k), x)), ", "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestVerifyBesideAManifest checks entries that a manifest does not list, and paths that
// may be missing.
func TestVerifyBesideAManifest(t *testing.T) {
	k := newKey(t)
	e := engine(t, signing.Options{})
	value := func(content string) []byte { return k.value(t, ima.SHA256, content) }
	a, b := file("a", "a", value("a")), file("b", "b", value("b"))
	x := indexOf(t, plan(t, k.engine(t, signing.Options{}), a, b), "tree")
	excluded := file("o", "o")
	excluded.Reason = "excluded"
	list := []signing.Entry{a, a, file("n", "n", value("n")), excluded, file("u", "u")}
	for _, c := range []struct {
		beside  bool
		missing string
		want    string
	}{
		{false, "", "a ok, a bad, n bad, o bad, u bad, b bad"},
		{true, "", "a ok, a bad, n ok, o ignored, u unsigned, b bad"}, // a second entry of a listed path stays wrong
		{true, "b", "a ok, a bad, n ok, o ignored, u unsigned"},
		{false, "a", "a ok, a bad, n bad, o bad, u bad, b bad"},
	} {
		var all []signing.Verdict
		trust := signing.Trust{Ring: ring(k), Index: x, Beside: c.beside, MayLack: func(path string) bool { return path == c.missing }}
		check(t, e.Verify(t.Context(), source(list...), trust, func(v signing.Verdict) error {
			all = append(all, v)
			return nil
		}))
		if got := strings.Join(outcomes(all), ", "); got != c.want {
			t.Errorf("beside %t, without %q: got %s, want %s", c.beside, c.missing, got, c.want)
		}
	}
}
