package signing_test

import (
	"bytes"
	"errors"
	"io"
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
