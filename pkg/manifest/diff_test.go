package manifest_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// differences returns each difference that Diff yields as a string.
func differences(old, now string) (all []string, err error) {
	for d, err := range manifest.Diff(manifest.NewReader(strings.NewReader(old)), manifest.NewReader(strings.NewReader(now))) {
		if err != nil {
			return all, err
		}
		all = append(all, fmt.Sprintf("%s %s %s", d.Change, d.Path, strings.Join(d.Fields, "; ")))
	}
	return all, nil
}

func TestDiffNamesEveryField(t *testing.T) {
	old, now := full(), full()
	h := &now.header
	h.Tool, h.Hash, h.KeyID, h.Certificate, h.Date = "u", ima.SHA512, 1, nil, time.Time{}
	l := &now.lines[0]
	l.Kind, l.Size, l.Mode, l.UID, l.GID = "fifo", 2, 0o600, 3, 4
	l.Digest, l.KeyID, l.Unsigned, l.Same = digest(2), 5, "why", ""
	l.Xattrs, l.Covered = nil, nil
	now.lines[5].Verity = nil
	got, err := differences(string(render(t, old)), string(render(t, now)))
	check(t, err)
	want := []string{
		"changed  tool tool \u2028<&> -> u; hash sha256 -> sha512; key_id deadbeef -> 00000001; certificate_sha256 " + fmt.Sprintf("%x", digest(7)) + " -> ; date 2026-02-03 04:05:06 +0000 UTC -> 0001-01-01 00:00:00 +0000 UTC",
		"changed a\n\"\\\x01 b kind file -> fifo; size 1152921504606846976 -> 2; mode 6755 -> 0600; uid 4294967295 -> 3; gid 7 -> 4; key_id 01020304 -> 00000005; unsigned \"\" -> \"why\"; same other\xfe -> ; digest; xattrs; covered",
		"changed \xff\xff3 verity blocks of 65536 bytes and the salt 0001 -> none",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestDiffOfVersions compares manifests of signatures of both versions.
func TestDiffOfVersions(t *testing.T) {
	text := func(version byte, purpose ima.Purpose) string {
		value := []byte{3, version, 4, 1, 2, 3, 4, 0, 1, 0xff}
		return string(render(t, container{manifest.Header{Container: "tree", KeyFor: purpose}, []manifest.Line{
			{Path: "f", Kind: "file", Xattrs: map[string][]byte{ima.XattrIMA: value}, KeyID: 0x01020304},
		}}))
	}
	got, err := differences(text(2, ima.Unstated), text(3, ima.ForV3))
	check(t, err)
	if want := []string{`changed  key_for "" -> "v3"`, "changed f signature_version 2 -> 3; xattrs"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if old := text(2, ima.Unstated); strings.Contains(old, "version\":2") || strings.Contains(old, "key_for") {
		t.Errorf("version 2: %s", old)
	}
}

// TestDiffOfTargetsAndDevices compares manifests that state them, and one that does not.
func TestDiffOfTargetsAndDevices(t *testing.T) {
	text := func(target, device string) string {
		return string(render(t, container{manifest.Header{Container: "tree"}, []manifest.Line{
			{Path: "c", Kind: "char", Device: device}, {Path: "l", Kind: "symlink", Target: target},
		}}))
	}
	got, err := differences(text("a", "1:3"), text("b\n", "1:5"))
	check(t, err)
	if want := []string{"changed c device 1:3 -> 1:5", `changed l target a -> "b\n"`}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, other := range []string{text("a", "1:3"), text("", "")} {
		if got, err := differences(text("a", "1:3"), other); err != nil || got != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestDiffOfPathsAndContainers(t *testing.T) {
	lines := func(paths ...string) (out []manifest.Line) {
		for i, p := range paths {
			out = append(out, manifest.Line{Path: p, Kind: "file", Size: int64(i)})
		}
		return out
	}
	tar := manifest.Header{Container: "tar", Name: "n"}
	text := func(all ...container) string { return string(render(t, all...)) }
	for _, c := range []struct {
		name, old, now string
		want           []string
	}{
		{"same", text(full()), text(full()), nil},
		{"removed and added", text(container{tar, lines("a", "b", "d")}), text(container{tar, lines("b", "c", "d", "e")}), []string{"removed a ", "changed b size 1 -> 0", "added c ", "added e "}},
		{"repeated paths", text(container{tar, lines("a", "a")}), text(container{tar, lines("a", "a", "a")}), []string{"added a "}},
		{"second container", text(full(), container{tar, lines("a")}), text(full(), container{tar, nil}), []string{"removed a "}},
	} {
		got, err := differences(c.old, c.now)
		check(t, err)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDiffRefuses(t *testing.T) {
	good, tar := entries(1, lineA), strings.Replace(entries(0), `"tree"`, `"tar"`, 1)
	for _, c := range []struct{ name, old, now, want string }{
		{"empty", "", good, "the first manifest: not a valid manifest: it is empty"},
		{"both empty", "", "", "the second manifest: not a valid manifest: it is empty"},
		{"blank line", "\n", "\n", "the first manifest: line 1"},
		{"fewer", good, good + good, "one manifest has more containers"},
		{"more", good + good, good, "one manifest has more containers"},
		{"other", good, tar, `the first manifest has the container tree "", the second has tar ""`},
		{"cut", good, entries(2, lineA), "the second manifest: not a valid manifest: cut short"},
		{"fault where the other ends", good, good + "{}\n", "the second manifest: line 3"},
	} {
		if _, err := differences(c.old, c.now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

// TestDiffEndsAtAnError checks that Diff yields nothing after an error, even if the loop
// continues.
func TestDiffEndsAtAnError(t *testing.T) {
	bad := entries(1, "{}\n") + entries(1, lineA)
	n := 0
	for _, err := range manifest.Diff(manifest.NewReader(strings.NewReader(bad)), manifest.NewReader(bytes.NewReader([]byte(bad)))) {
		if n++; err == nil {
			t.Error("a difference after an error")
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
	for range manifest.Diff(manifest.NewReader(strings.NewReader(entries(2, lineA, lineB))), manifest.NewReader(strings.NewReader(entries(0)))) {
		break // must not panic
	}
}
