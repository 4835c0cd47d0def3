package signing_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// listing returns the index of a manifest with these lines.
func listing(t *testing.T, lines ...manifest.Line) *manifest.Index {
	t.Helper()
	var buf bytes.Buffer
	w := manifest.NewWriter(&buf)
	check(t, w.Header(manifest.Header{Tool: "t", Container: "tar", Entries: int64(len(lines))}))
	for _, l := range lines {
		check(t, w.Line(l))
	}
	check(t, w.Flush())
	x, err := manifest.NewIndex(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	check(t, err)
	return x
}

func lineOf(path, content string, value []byte) manifest.Line {
	return manifest.Line{Path: path, Kind: "file", Mode: 0o755, Hash: ima.SHA256, Digest: sum(ima.SHA256, content), Xattrs: xattrs(value)}
}

func apply(t *testing.T, k key, x *manifest.Index, force bool, list ...signing.Entry) ([]signing.Record, error) {
	t.Helper()
	p, err := engine(t, signing.Options{Force: force}).Apply(context.Background(), source(list...), signing.Trust{Index: x, Ring: ring(k)})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	check(t, p.Attachable())
	return records(t, p), nil
}

func TestApply(t *testing.T) {
	k, other := newKey(t), newKey(t)
	value, hashed := k.value(t, ima.SHA256, "x"), ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x"))
	theirs, mine := other.value(t, ima.SHA256, "x"), k.value(t, ima.SHA256, "y")
	for _, c := range []struct {
		name       string
		value, old []byte
		force      bool
		want       signing.Status
	}{
		{"signature", value, nil, false, signing.Signed},
		{"digest", hashed, nil, false, signing.Hashed},
		{"there already", value, value, false, signing.Unchanged},
		{"ours of other content", value, mine, false, signing.Signed},
		{"theirs, forced", value, theirs, true, signing.Signed},
		{"digest over theirs, forced", hashed, theirs, true, signing.Hashed},
	} {
		for _, entry := range []signing.Entry{file("f", "x", c.old), stated("f", ima.SHA256, "x", c.old)} {
			got, err := apply(t, k, listing(t, lineOf("f", "x", c.value)), c.force, entry)
			if err != nil || got[0].Status() != c.want || !bytes.Equal(got[0].Final(ima.XattrIMA), c.value) || got[0].HashOnly != bytes.Equal(c.value, hashed) {
				t.Errorf("%s: %v %+v", c.name, err, got)
			}
		}
	}
	for name, v := range map[string][]byte{"signature": value, "digest": hashed} {
		if _, err := apply(t, k, listing(t, lineOf("f", "x", v)), false, file("f", "x", theirs)); !errors.Is(err, signing.ErrOtherKey) {
			t.Errorf("%s over another key's signature: %v", name, err)
		}
	}
	// A file that has no value in the manifest stays as it is. It is not even opened.
	got, err := apply(t, k, listing(t, lineOf("f", "x", value), lineOf("g", "g", nil)), false, file("f", "x"), failing("g", errBroken), failing("h", errBroken))
	check(t, err)
	if got[1].Status() != signing.Skipped || got[2].Status() != signing.Skipped || got[2].Reason != "no value in the manifest" {
		t.Errorf("no value in the manifest: %+v", got)
	}
}

func TestApplyRefusals(t *testing.T) {
	k, other := newKey(t), newKey(t)
	value := k.value(t, ima.SHA256, "x")
	noDigest := lineOf("f", "x", value)
	noDigest.Digest = nil
	evm := lineOf("f", "x", value)
	evm.Xattrs[ima.XattrEVM] = []byte{5, 2}
	symlink := signing.Entry{Path: "f", Mode: fs.ModeSymlink, Reason: "symlink"}
	for _, c := range []struct {
		name  string
		line  manifest.Line
		entry signing.Entry
		cause error // in addition to ErrMismatch
		text  string
	}{
		{"content", lineOf("f", "x", value), file("f", "y"), nil, "its content has changed"},
		{"stated digest", lineOf("f", "x", value), stated("f", ima.SHA256, "y"), nil, "its content has changed"},
		{"stated over another hash", lineOf("f", "x", value), stated("f", ima.SHA512, "x"), nil, "it has a sha512 digest, but the manifest states a sha256 digest"},
		{"no digest", noDigest, file("f", "x"), nil, "the manifest states no digest"},
		{"value of other content", lineOf("f", "x", k.value(t, ima.SHA256, "y")), file("f", "x"), ima.ErrBadSignature, ""},
		{"value of another hash", lineOf("f", "x", k.value(t, ima.SHA512, "x")), file("f", "x"), nil, "the value is over sha512"},
		{"stranger", lineOf("f", "x", other.value(t, ima.SHA256, "x")), file("f", "x"), ima.ErrUnknownKey, ""},
		{"cut value", lineOf("f", "x", value[:20]), file("f", "x"), ima.ErrTruncated, ""},
		{"empty value", lineOf("f", "x", []byte{}), file("f", "x"), ima.ErrTruncated, ""},
		{"digest of other content", lineOf("f", "x", ima.DigestValue(ima.SHA256, sum(ima.SHA256, "y"))), file("f", "x"), ima.ErrDigestMismatch, ""},
		{"bare SHA-1", lineOf("f", "x", append([]byte{1}, sum(ima.SHA1, "x")...)), file("f", "x"), nil, "sha1"},
		{"symlink now", lineOf("f", "x", value), symlink, nil, "there is no such regular file"},
		{"gone", lineOf("f", "x", value), file("g", "x"), nil, "there is no such regular file"},
	} {
		_, err := apply(t, k, listing(t, c.line), false, c.entry)
		if !errors.Is(err, signing.ErrMismatch) || c.cause != nil && !errors.Is(err, c.cause) || !strings.HasPrefix(err.Error(), "f: ") || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := apply(t, k, listing(t, evm), false, file("f", "x")); !errors.Is(err, signing.ErrNoStage) || !strings.Contains(err.Error(), "f: ") {
		t.Errorf("security.evm: %v", err)
	}
	if _, err := apply(t, k, listing(t, lineOf("f", "x", value)), false, failing("f", errBroken)); !errors.Is(err, errBroken) {
		t.Errorf("unreadable: %v", err)
	}
}

func TestApplyHardLinks(t *testing.T) {
	k := newKey(t)
	x, y := k.value(t, ima.SHA256, "x"), k.value(t, ima.SHA256, "y")
	a, b := file("a", "x"), file("b", "x")
	a.Group, b.Group = "a", "a"
	got, err := apply(t, k, listing(t, lineOf("a", "x", x), lineOf("b", "x", x)), false, a, b)
	check(t, err)
	if !got[0].Pending() || got[1].Pending() {
		t.Errorf("both listed: %+v", got)
	}
	got, err = apply(t, k, listing(t, lineOf("a", "x", nil), lineOf("b", "x", x)), false, a, b)
	check(t, err)
	if got[0].Pending() || !got[1].Pending() {
		t.Errorf("the second listed: %+v", got)
	}
	for want, line := range map[string]manifest.Line{
		"its content has changed": lineOf("b", "y", y), // was another file
		"states another value":    lineOf("b", "x", ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x"))),
	} {
		if _, err := apply(t, k, listing(t, lineOf("a", "x", x), line), false, a, b); !errors.Is(err, signing.ErrMismatch) || !strings.HasPrefix(err.Error(), "b: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestApplyRepeatedPaths(t *testing.T) {
	k := newKey(t)
	one, two := k.value(t, ima.SHA256, "1"), k.value(t, ima.SHA256, "2")
	x := listing(t, lineOf("a", "1", one), lineOf("a", "link", nil), lineOf("a", "2", two))
	skipped := signing.Entry{Path: "a", Mode: fs.ModeSymlink, Reason: "symlink"}
	got, err := apply(t, k, x, false, file("a", "1"), skipped, file("a", "2"))
	check(t, err)
	if !bytes.Equal(got[0].Final(ima.XattrIMA), one) || got[1].Values != nil || !bytes.Equal(got[2].Final(ima.XattrIMA), two) {
		t.Errorf("got %+v", got)
	}
	for name, list := range map[string][]signing.Entry{
		"in another order": {file("a", "2"), skipped, file("a", "1")},
		"one fewer":        {file("a", "1"), skipped},
	} {
		if _, err := apply(t, k, x, false, list...); !errors.Is(err, signing.ErrMismatch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestStrip(t *testing.T) {
	strip := func(list ...signing.Entry) *signing.Plan {
		p, err := engine(t, signing.Options{}).Strip(context.Background(), source(list...))
		check(t, err)
		t.Cleanup(func() { p.Close() })
		check(t, p.Attachable())
		return p
	}
	both := map[string][]byte{ima.XattrIMA: {4}, ima.XattrEVM: {2}, "security.selinux": {1}}
	full, bare, told := file("a", "x"), file("b", "x"), stated("c", ima.SHA256, "x", []byte{3})
	full.Xattrs, full.Group = both, "a"
	link := signing.Entry{Path: "d", Group: "a"}
	p := strip(full, bare, told, link, signing.Entry{Path: "e", Reason: "directory"})
	all := records(t, p)
	for i, want := range []struct {
		status signing.Status
		values int
		reason string
	}{{signing.Stripped, 2, ""}, {signing.Skipped, 0, "nothing to strip"}, {signing.Stripped, 1, ""}, {signing.Stripped, 2, ""}, {signing.Skipped, 0, "directory"}} {
		if all[i].Status() != want.status || len(all[i].Values) != want.values || all[i].Reason != want.reason {
			t.Errorf("%s: %s %v %q", all[i].Path, all[i].Status(), all[i].Values, all[i].Reason)
		}
		for name, value := range all[i].ByXattr() {
			if value != nil || name == "security.selinux" {
				t.Errorf("%s: %s becomes %x", all[i].Path, name, value)
			}
		}
	}
	if c := p.Counts(); c.Stripped != 2 || c.Links != 1 || c.Skipped != 2 || c.Pending() != 2 {
		t.Errorf("counts %+v", c)
	}
	if _, err := engine(t, signing.Options{}).Strip(context.Background(), source(failing("f", errBroken))); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}
