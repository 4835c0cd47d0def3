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
	name, paths string // paths are what image verify is to report
	tree        func(path func(string) string) error
	debugfs     string // requests
	detail      string // a part of the report
}

var changes = []change{
	{"xattr dropped", "sizes/100",
		func(path func(string) string) error { return unix.Lremovexattr(path("sizes/100"), "security.ima") },
		"ea_rm sizes/100 security.ima", "no security.ima"},
	{"inodes exchanged", "sizes/text511 sizes/text513",
		func(path func(string) string) error {
			return unix.Renameat2(unix.AT_FDCWD, path("sizes/text511"), unix.AT_FDCWD, path("sizes/text513"), unix.RENAME_EXCHANGE)
		},
		"ln sizes/text511 x\nunlink sizes/text511\nln sizes/text513 sizes/text511\nunlink sizes/text513\nln x sizes/text513\nunlink x", "its content has changed"},
	{"file added", "sizes/added",
		func(path func(string) string) error { return os.WriteFile(path("sizes/added"), []byte("new"), 0o644) },
		"cd sizes\nwrite /proc/self/status added", "does not list it"},
	{"file removed", "sizes/60",
		func(path func(string) string) error { return os.Remove(path("sizes/60")) },
		"rm sizes/60", "it is missing"},
	{"mode changed", "sizes/3000",
		func(path func(string) string) error { return os.Chmod(path("sizes/3000"), 0o755|fs.ModeSetuid) },
		"sif sizes/3000 mode 0104755", "its mode is 4755, not "},
	{"owner changed", "sizes/161",
		func(path func(string) string) error { return os.Chown(path("sizes/161"), 1, 0) },
		"sif sizes/161 uid 1", "its owner is 1:0, not 0:0"},
	{"mode of a device changed", "dev/console",
		func(path func(string) string) error { return os.Chmod(path("dev/console"), 0o666) },
		"sif dev/console mode 0020666", "its mode is 0666, not 0600"},
	{"link to another file", "links/third",
		func(path func(string) string) error {
			return errors.Join(os.Remove(path("links/third")), os.Link(path("sizes/text1024"), path("links/third")))
		},
		"unlink links/third\nln sizes/text1024 links/third", "its content has changed"},
	{"target of a symbolic link changed", "symlinks/60",
		func(path func(string) string) error {
			link := path("symlinks/60")
			return errors.Join(os.Remove(link), os.Symlink("/etc/passwd", link), os.Lchown(link, 60, 70060))
		},
		"rm symlinks/60\nsymlink symlinks/60 /etc/passwd\nsif symlinks/60 uid 60\nsif symlinks/60 gid 70060",
		"it points to /etc/passwd, not ../nowhere/../nowhere/"},
	{"number of a character device changed", "dev/console",
		func(path func(string) string) error { return remake(path("dev/console"), 5, 2) },
		"sif dev/console block[0] 0x0502", "its device is 5:2, not 5:1"},
	{"number of a block device changed", "dev/major256",
		func(path func(string) string) error { return remake(path("dev/major256"), 256, 70000) },
		"sif dev/major256 block[1] 0x11110070", "its device is 256:70000, not 256:1"},
}

// remake makes a device node with another number, and the same mode and owner.
func remake(path string, major, minor uint32) error {
	var was unix.Stat_t
	if err := unix.Lstat(path, &was); err != nil {
		return err
	}
	return errors.Join(os.Remove(path), unix.Mknod(path, was.Mode, int(unix.Mkdev(major, minor))), os.Chown(path, int(was.Uid), int(was.Gid)))
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
					l.badFor(t, l.image(t, f, tree), c.paths, c.detail)
					return
				}
				image := l.image(t, f, l.tree)
				debugfs(t, image, c.debugfs)
				l.badFor(t, image, c.paths, c.detail)
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
