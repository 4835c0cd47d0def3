// Package image tests the image commands with images that real programs make, against the
// kernel and evmctl.
package image

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

func TestMain(m *testing.M) { harness.Main(m) }

// lab has a signed tree, its manifest, and the program, in a directory that all users may
// enter.
type lab struct {
	testing.TB
	dir, program, tree, keys, manifest string
}

// newLab signs a tree. An ordinary user verifies the images.
func newLab(t testing.TB, without ...imagetree.Feature) *lab {
	t.Helper()
	harness.Root(t)
	dir, err := os.MkdirTemp("", "image-*") // other users cannot enter the parent of t.TempDir
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chmod(dir, 0o755))
	l := &lab{t, dir, filepath.Join(dir, "imasign-build"), imagetree.Tiny(t, without...), harness.Keys(t, "p256"), filepath.Join(dir, "manifest")}
	harness.Must(t, "install", "-m", "0755", harness.Program(t), l.program)
	harness.Must(t, "install", "-m", "0644", filepath.Join(l.keys, "x509_ima.crt"), l.path("x509_ima.crt"))
	check(t, os.MkdirAll(filepath.Join(l.tree, "etc"), 0o755))
	check(t, os.WriteFile(filepath.Join(l.tree, "etc/fstab"), []byte("/dev/root / auto defaults 0 1\n"), 0o644))
	// The tree has other values, which are not signatures.
	harness.Sign(t, l.keys, l.tree, "--force", "--manifest", l.manifest)
	check(t, os.Chmod(l.manifest, 0o644))
	return l
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// command returns a command of the program for a user with no rights.
func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(l.program, args...)
	cmd.Env = []string{"PATH=/nowhere"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4711}}
	return cmd
}

// entry is one file in the document of `image verify --json`.
type entry struct {
	Path    string `json:"path"`
	PathB64 []byte `json:"path_b64"`
	Status  string `json:"status"`
	Detail  string `json:"detail"`
	KeyID   string `json:"key_id"`
}

// verdict is the result of `image verify`.
type verdict struct {
	harness.Result

	OK, Unsigned, Bad int
	entries           map[string]entry
}

// wrong returns the paths that were reported, unless all are.
func (v *verdict) wrong() []string { return slices.Sorted(maps.Keys(v.entries)) }

// verify verifies an image with the manifest.
func (l *lab) verify(t testing.TB, image string, flags ...string) *verdict {
	t.Helper()
	args := append([]string{"image", "verify", "--json", "--cert", l.path("x509_ima.crt"), "--manifest", l.manifest}, flags...)
	v := &verdict{Result: harness.RunCommand(t, l.command(append(args, image)...)), entries: map[string]entry{}}
	var document struct {
		OK, Unsigned, Bad int
		Entries           []entry
	}
	if v.Out != "" {
		if err := json.Unmarshal([]byte(v.Out), &document); err != nil {
			t.Fatalf("%v\n%s%s", err, v.Out, v.Err)
		}
	}
	v.OK, v.Unsigned, v.Bad = document.OK, document.Unsigned, document.Bad
	for _, e := range document.Entries {
		if e.PathB64 != nil {
			e.Path = string(e.PathB64)
		}
		v.entries[e.Path] = e
	}
	return v
}

// good fails the test unless nothing is wrong with an image.
func (l *lab) good(t testing.TB, image string, flags ...string) {
	t.Helper()
	if v := l.verify(t, image, flags...); v.Code != 0 || v.OK < 200 || v.Unsigned+v.Bad > 0 {
		t.Errorf("%s: exit %d\n%s%s", filepath.Base(image), v.Code, v.Out, v.Err)
	}
}

// bad fails the test unless exactly these paths of an image are wrong.
func (l *lab) bad(t testing.TB, image string, paths string, flags ...string) {
	t.Helper()
	want := strings.Fields(paths)
	slices.Sort(want)
	if v := l.verify(t, image, flags...); v.Code != 3 || !slices.Equal(v.wrong(), want) {
		t.Errorf("%s: exit %d, want 3 and %q\n%s%s", filepath.Base(image), v.Code, want, v.Out, v.Err)
	}
}

// badFor is bad for an image whose report contains a detail.
func (l *lab) badFor(t testing.TB, image, paths, detail string) {
	t.Helper()
	l.bad(t, image, paths)
	v := l.verify(t, image)
	for path, e := range v.entries {
		if !strings.Contains(e.Detail, detail) {
			t.Errorf("%s: %s: %q, want %q", filepath.Base(image), path, e.Detail, detail)
		}
	}
}

// format is a kind of image.
type format struct {
	name    string
	command []string // TREE and IMAGE are replaced
}

// plain are formats in which contents can be found.
var plain = []format{
	{"ext4", []string{"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", "TREE", "IMAGE", "16M"}},
	{"squashfs", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-noappend", "-noD", "-noF"}},
	{"erofs", []string{"mkfs.erofs", "--quiet", "IMAGE", "TREE"}},
}

var compressed = []format{
	{"squashfs-xz", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-noappend", "-comp", "xz"}},
	{"squashfs-zstd", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-noappend", "-comp", "zstd"}},
	{"erofs-lz4hc", []string{"mkfs.erofs", "--quiet", "-zlz4hc", "IMAGE", "TREE"}},
}

// kept are the features of the tree that not all these formats keep.
var kept = []imagetree.Feature{
	imagetree.LinkedSymlinks, // mke2fs -d
	imagetree.ACLs,           // mksquashfs
	imagetree.LongestNames,   // mkfs.erofs 1.5
}

// image makes an image of a tree and returns its path.
func (l *lab) image(t testing.TB, f format, tree string) string {
	t.Helper()
	image := l.path(f.name + ".img")
	check(t, os.RemoveAll(image))
	var args []string
	for _, arg := range f.command {
		args = append(args, strings.NewReplacer("TREE", tree, "IMAGE", image).Replace(arg))
	}
	harness.Must(t, args[0], args[1:]...)
	check(t, os.Chmod(image, 0o644))
	return image
}
