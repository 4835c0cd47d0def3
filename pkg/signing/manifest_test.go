package signing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// TestManifestOfSeveralPlans writes the plans of packages, which state their digests in
// their own order and with their own hash.
func TestManifestOfSeveralPlans(t *testing.T) {
	k := newKey(t)
	e := k.engine(t, signing.Options{})
	var buf bytes.Buffer
	one := plan(t, e, stated("b", ima.SHA512, "b"), stated("a", ima.SHA512, "a"), signing.Entry{Path: "c", Reason: "symlink", Mode: 0o777})
	two := plan(t, e, stated("b", ima.SHA512, "b"), stated("a", ima.SHA256, "a"))
	none := plan(t, e)
	for name, p := range map[string]*signing.Plan{"one": one, "two": two, "none": none} {
		check(t, p.WriteManifest(&buf, signing.Description{Tool: "t", Container: "rpm", Name: name}))
	}
	c, err := manifest.NewCatalog(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	check(t, err)
	for name, hash := range map[string]ima.HashID{"one": ima.SHA512, "two": 0, "none": ima.SHA256} {
		x, err := c.Index(name)
		check(t, err)
		if x.Header.Hash != hash || x.Header.KeyID != k.public.ID() {
			t.Errorf("%s: header %+v", name, x.Header)
		}
	}
	x, err := c.Index("one")
	check(t, err)
	if got := strings.Join(x.Paths(), " "); got != "a b c" {
		t.Errorf("paths %s", got)
	}
	for _, content := range []string{"a", "b"} {
		l, _, err := x.Find(content, 0)
		check(t, err)
		if l.KeyID != k.public.ID() || l.Hash != ima.SHA512 || k.verify(l.Xattrs[ima.XattrIMA], ima.SHA512, sum(ima.SHA512, content)) != nil {
			t.Errorf("%s: %+v", content, l)
		}
	}
}

func TestManifestLines(t *testing.T) {
	k := newKey(t)
	first, hashOnly := file("a", "x", k.value(t, ima.SHA256, "x")), file("c", "y")
	first.Group, hashOnly.HashOnly = "a", true
	first.Xattrs["security.capability"], first.Xattrs[ima.XattrEVM] = []byte{1}, []byte{2}
	x := indexOf(t, plan(t, k.engine(t, signing.Options{}), first, signing.Entry{Path: "b", Group: "a"}, hashOnly), "tree")
	find := func(path string) manifest.Line {
		l, _, err := x.Find(path, 0)
		check(t, err)
		return l
	}
	if l := find("a"); len(l.Covered) != 1 || l.Covered["security.capability"] == nil || l.Same != "" || l.KeyID != k.public.ID() {
		t.Errorf("%+v", l)
	}
	if l := find("b"); l.Same != "a" || l.KeyID != k.public.ID() {
		t.Errorf("%+v", l)
	}
	if l := find("c"); l.Unsigned != "hash only" || l.KeyID != 0 || len(l.Xattrs) != 1 {
		t.Errorf("%+v", l)
	}
}

// special returns a symbolic link, whose target has to be read, and a device.
func special(target, device string) (link, node signing.Entry) {
	link = signing.Entry{Path: "l", Mode: fs.ModeSymlink | 0o777, Reason: "symlink", Readlink: func() (string, error) { return target, nil }}
	return link, signing.Entry{Path: "n", Mode: fs.ModeDevice | fs.ModeCharDevice | 0o600, Reason: "char", Device: device}
}

// TestTargetsAndDevices checks that manifests state targets and device numbers, which are
// compared unless the manifest lacks them.
func TestTargetsAndDevices(t *testing.T) {
	e := engine(t, signing.Options{})
	link, node := special("../a\xff", "1:3")
	p := plan(t, e, link, node)
	for range 2 { // as it is, and signed on a machine that has only the manifest
		x := indexOf(t, p, "tree")
		for _, c := range []struct{ target, device, want string }{
			{"../a\xff", "1:3", ""},
			{"a\xff", "1:3", `l: does not match the manifest: it points to "a\xff", not "../a\xff"`},
			{"", "1:3", `l: does not match the manifest: it points to "", not "../a\xff"`},
			{"../a\xff", "1:5", "n: does not match the manifest: its device is 1:5, not 1:3"},
		} {
			now, device := special(c.target, c.device)
			var wrong []string
			for _, v := range verdicts(t, e, source(now, device), ring(), x) {
				if v.Outcome.Wrong() {
					wrong = append(wrong, fmt.Sprintf("%s: %v", v.Path, v.Err))
				}
			}
			if strings.Join(wrong, "\n") != c.want {
				t.Errorf("%q, %s: got %q", c.target, c.device, wrong)
			}
		}
		stated, err := e.Plan(t.Context(), signing.Stated(manifestLines(t, text(t, p, "tree"))))
		check(t, err)
		t.Cleanup(func() { stated.Close() })
		p = stated
	}
	link, node = special("", "")
	x := indexOf(t, plan(t, e, link, node), "tree")
	link, node = special("anything", "7:7")
	for _, v := range verdicts(t, e, source(link, node), ring(), x) {
		if v.Outcome.Wrong() {
			t.Errorf("compared with a manifest that states nothing: %v", v.Err)
		}
	}
}

func manifestLines(t *testing.T, text []byte) iter.Seq2[manifest.Line, error] {
	t.Helper()
	r := manifest.NewReader(bytes.NewReader(text))
	_, err := r.Next()
	check(t, err)
	return r.Lines()
}

// TestReadlink checks that links are read only for a manifest, and what errors do.
func TestReadlink(t *testing.T) {
	e := engine(t, signing.Options{})
	link := signing.Entry{Path: "l", Mode: fs.ModeSymlink | 0o777, Reason: "symlink", Readlink: func() (string, error) { return "", errBroken }}
	if got := outcomes(verdicts(t, e, source(link), ring(), nil)); !slices.Equal(got, []string{"l ignored"}) {
		t.Errorf("got %q", got)
	}
	if _, err := e.Plan(t.Context(), source(link)); !errors.Is(err, errBroken) {
		t.Errorf("planned: %v", err)
	}
	good, _ := special("a", "")
	x := indexOf(t, plan(t, e, good), "tree")
	err := e.Verify(t.Context(), source(link), signing.Trust{Ring: ring(), Index: x}, func(v signing.Verdict) error {
		t.Errorf("a verdict: %+v", v)
		return nil
	})
	if !errors.Is(err, errBroken) {
		t.Errorf("verified: %v", err)
	}
}

func TestManifestWriteErrors(t *testing.T) {
	p := plan(t, engine(t, signing.Options{}), file("a", "x"))
	if err := p.WriteManifest(brokenWriter{}, signing.Description{Container: "tree"}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	twice := plan(t, engine(t, signing.Options{}), file("a", "x"), file("a", "y"))
	if err := twice.WriteManifest(io.Discard, signing.Description{Container: "tree"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a path that repeats in a tree: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// TestManifestStatesThePurpose checks that a manifest has the purpose that was stated for a
// key, and not the one that its certificate or its algorithm states.
func TestManifestStatesThePurpose(t *testing.T) {
	silent, pure := newKey(t), newMLDSA(t, "mldsa44")
	for _, c := range []struct {
		key  key
		want string
	}{
		{silent, ""}, {silent.purposed(t, ima.ForV3), `"key_for":"v3",`}, {silent.purposed(t, ima.ForAny), `"key_for":"any",`},
		{pure, ""}, {pure.purposed(t, ima.ForAny), `"key_for":"any",`},
	} {
		e := c.key.versioned(t, 3, 0)
		if c.key == silent {
			e = c.key.versioned(t, 2, 0)
		}
		got := string(text(t, plan(t, e, file("f", "x")), "tree"))
		if header, _, _ := strings.Cut(got, "\n"); c.want != "" && !strings.Contains(header, c.want) || c.want == "" && strings.Contains(header, "key_for") {
			t.Errorf("%s, %s: %s", c.key.public.Algorithm(), c.key.public.Purpose(), header)
		}
		if has := strings.Contains(got, `"signature_version":3`); has != (c.key != silent) {
			t.Errorf("%s, %s: %s", c.key.public.Algorithm(), c.key.public.Purpose(), got)
		}
	}
}
