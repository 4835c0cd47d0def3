package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// change is something that is done to a tree, or by debugfs to an image.
type change struct {
	name, paths string // what image verify is to report
	tree        func(path func(string) string) error
	debugfs     string // requests
}

var changes = []change{
	{"xattr dropped", "sizes/100",
		func(path func(string) string) error { return unix.Lremovexattr(path("sizes/100"), "security.ima") },
		"ea_rm sizes/100 security.ima"},
	{"inodes exchanged", "sizes/text511 sizes/text513",
		func(path func(string) string) error {
			return unix.Renameat2(unix.AT_FDCWD, path("sizes/text511"), unix.AT_FDCWD, path("sizes/text513"), unix.RENAME_EXCHANGE)
		},
		"ln sizes/text511 x\nunlink sizes/text511\nln sizes/text513 sizes/text511\nunlink sizes/text513\nln x sizes/text513\nunlink x"},
	{"file added", "sizes/added",
		func(path func(string) string) error { return os.WriteFile(path("sizes/added"), []byte("new"), 0o644) },
		"cd sizes\nwrite /proc/self/status added"},
	{"file removed", "sizes/60",
		func(path func(string) string) error { return os.Remove(path("sizes/60")) },
		"rm sizes/60"},
	{"mode changed", "sizes/3000",
		func(path func(string) string) error { return os.Chmod(path("sizes/3000"), 0o755|fs.ModeSetuid) },
		"sif sizes/3000 mode 0104755"},
	{"owner changed", "sizes/161",
		func(path func(string) string) error { return os.Chown(path("sizes/161"), 1, 0) },
		"sif sizes/161 uid 1"},
	{"mode of a device changed", "dev/console",
		func(path func(string) string) error { return os.Chmod(path("dev/console"), 0o666) },
		"sif dev/console mode 0020666"},
	{"link to another file", "links/third",
		func(path func(string) string) error {
			return errors.Join(os.Remove(path("links/third")), os.Link(path("sizes/text1024"), path("links/third")))
		},
		"unlink links/third\nln sizes/text1024 links/third"},
}

// TestUnchanged verifies images that nobody changed.
func TestUnchanged(t *testing.T) {
	l := newLab(t, kept...)
	for _, f := range slices.Concat(plain, compressed) {
		t.Run(f.name, func(t *testing.T) { l.good(t, l.image(t, f, l.tree)) })
	}
}

// TestChanges changes images, or the trees that they are made of, in one way each. Nothing
// else than the change may be reported.
func TestChanges(t *testing.T) {
	l := newLab(t, kept...)
	for _, c := range changes {
		tree := filepath.Join(t.TempDir(), "tree")
		harness.Must(t, "cp", "-a", l.tree, tree)
		check(t, c.tree(func(name string) string { return filepath.Join(tree, name) }))
		for _, f := range []format{plain[0], plain[1], compressed[2]} {
			t.Run(c.name+"/"+f.name, func(t *testing.T) {
				if f.name != "ext4" {
					l.bad(t, l.image(t, f, tree), c.paths)
					return
				}
				image := l.image(t, f, l.tree)
				debugfs(t, image, c.debugfs)
				l.bad(t, image, c.paths)
			})
		}
	}
}

// debugfs changes an ext4 image. debugfs exits with 0 whatever happens.
func debugfs(t testing.TB, image, requests string) {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, "debugfs"), "-w", "-f", "-", image)
	cmd.Stdin = strings.NewReader(requests + "\n")
	r := harness.RunCommand(t, cmd)
	for line := range strings.Lines(r.Err) {
		if !strings.HasPrefix(line, "debugfs 1.") {
			t.Fatalf("debugfs: %s%s", r.Out, r.Err)
		}
	}
}

// TestFlippedByte flips one byte of a file's content in images.
func TestFlippedByte(t *testing.T) {
	l := newLab(t, kept...)
	for _, f := range plain {
		t.Run(f.name, func(t *testing.T) {
			image := l.image(t, f, l.tree)
			l.flip(t, image, "large/random", 0)
			l.bad(t, image, "large/random")
		})
	}
}

// flip flips one byte of a file whose content is in the image as it is. It is looked for
// from an offset on.
func (l *lab) flip(t testing.TB, image, name string, from int64) {
	t.Helper()
	all, err := os.ReadFile(image)
	check(t, err)
	content, err := os.ReadFile(filepath.Join(l.tree, name))
	check(t, err)
	at := bytes.Index(all[from:], content[:4096])
	if at < 0 {
		t.Fatalf("%s is not in the image", name)
	}
	at += int(from) + 1234
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	check(t, err)
	_, err = file.WriteAt([]byte{all[at] ^ 0x10}, int64(at))
	check(t, err)
	check(t, file.Close())
}

// TestTruncatedByMkfs makes the image that `mke2fs -O inline_data -d` spoils: it truncates
// files that end in a hole.
func TestTruncatedByMkfs(t *testing.T) {
	l := newLab(t, kept...)
	inline := format{"inline", []string{"mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "inline_data", "-d", "TREE", "IMAGE", "16M"}}
	l.bad(t, l.image(t, inline, l.tree), "holes/last holes/small")
}

// TestFstabOfWic edits /etc/fstab as wic does, after the tree was signed.
func TestFstabOfWic(t *testing.T) {
	l := newLab(t, kept...)
	image := l.image(t, plain[0], l.tree)
	fstab := l.path("fstab")
	check(t, os.WriteFile(fstab, []byte("/dev/root / auto defaults 0 1\n/dev/sda1 /boot vfat defaults 0 0\n"), 0o644))
	debugfs(t, image, fmt.Sprintf("cd /etc\nrm fstab\nwrite %s fstab", fstab))
	l.bad(t, image, "etc/fstab")
}
