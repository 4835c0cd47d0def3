package imagesign

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// small makes a tree with a file of two blocks, and one of many xattrs.
func (l *lab) small() string {
	l.Helper()
	tree := l.TempDir()
	check(l, os.WriteFile(filepath.Join(tree, "file"), []byte(strings.Repeat("content ", 200)), 0o755))
	check(l, os.WriteFile(filepath.Join(tree, "full"), []byte("full"), 0o644))
	check(l, os.Symlink("file", filepath.Join(tree, "link")))
	check(l, unix.Setxattr(filepath.Join(tree, "full"), "user.large", make([]byte, 900), 0))
	return tree
}

func (l *lab) sum(path string) string {
	l.Helper()
	b, err := os.ReadFile(path)
	check(l, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// old makes a former output.
func (l *lab) old() {
	l.Helper()
	check(l, os.WriteFile(l.path("out"), []byte("old"), 0o644))
	check(l, os.Chown(l.path("out"), user, user))
}

// refused runs a command that must fail with a text and change nothing.
func (l *lab) refused(cmd *exec.Cmd, want string) {
	l.Helper()
	l.old()
	image, files := l.sum(l.path("image")), l.files()
	r := harness.RunCommand(l, cmd)
	if r.Code != 1 || !strings.Contains(r.Err, want) {
		l.Errorf("exit %d, want 1 and %q\n%s", r.Code, want, r.Err)
	}
	if out, err := os.ReadFile(l.path("out")); err != nil || string(out) != "old" {
		l.Errorf("the old output: %.20q, %v", out, err)
	}
	if l.sum(l.path("image")) != image {
		l.Error("the image was changed")
	}
	if got := l.files(); !slices.Equal(got, files) {
		l.Errorf("left %q", got)
	}
}

// script makes a program in a directory of its own and returns the directory.
func (l *lab) script(name, text string) string {
	l.Helper()
	bin := l.TempDir()
	for dir := bin; dir != os.TempDir(); dir = filepath.Dir(dir) {
		check(l, os.Chmod(dir, 0o755))
	}
	harness.Executable(l, filepath.Join(bin, name), []byte("#!/bin/sh\n"+text))
	return bin
}

// TestDebugfsIsNotBelieved replaces debugfs and e2fsck by programs that do something else.
func TestDebugfsIsNotBelieved(t *testing.T) {
	l := newLab(t)
	l.image("image", l.small(), "-t ext4 -b 4096")
	const real = "/usr/sbin/debugfs \"$@\"\nfor image; do :; done\n"
	for _, test := range []struct{ name, program, script, want string }{
		{"does nothing", "debugfs", "exit 0", "file: debugfs failed: security.ima is not in the copy"},
		{"complains", "debugfs", real + "echo 'v0: strange' >&2", "v0: strange"},
		{"fails", "debugfs", "echo broken >&2; exit 7", "exit status 7"},
		{"changes a mode", "debugfs", real + "/usr/sbin/debugfs -w -R 'set_inode_field <12> mode 0100777' $image 2>/dev/null", "the copy differs"},
		{"changes content", "debugfs", real + "/usr/sbin/debugfs -w -R 'zap_block -f <12> 0' $image 2>/dev/null", "file: debugfs failed: the copy differs"},
		{"adds an xattr", "debugfs", real + "/usr/sbin/debugfs -w -R 'ea_set <14> user.x y' $image 2>/dev/null", "the copy differs"},
		{"adds a name", "debugfs", real + "/usr/sbin/debugfs -w -R 'mkdir x' $image 2>/dev/null", "the copy differs"},
		{"removes a name", "debugfs", real + "/usr/sbin/debugfs -w -R 'rm link' $image 2>/dev/null", "the copy differs"},
		{"changes the root", "debugfs", real + "/usr/sbin/debugfs -w -R 'set_inode_field <2> mode 040700' $image 2>/dev/null", "the root directory: debugfs failed: the copy differs"},
		{"damages", "debugfs", real + "/usr/sbin/debugfs -w -R 'freeb 300' $image 2>/dev/null", "e2fsck does not find it clean"},
		{"e2fsck fails", "e2fsck", "exit 4", "e2fsck does not find it clean"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := *l
			l.TB = t
			l.refused(l.command(l.script(test.program, test.script), l.arguments("image", "-o", "out")...), test.want)
		})
	}
}

// TestProgramsAreMissing hides the programs of e2fsprogs.
func TestProgramsAreMissing(t *testing.T) {
	l := newLab(t)
	l.image("image", l.small(), "-t ext4 -b 4096")
	check(t, os.WriteFile(l.path("none"), nil, 0o644))
	for _, program := range []string{"debugfs", "e2fsck"} {
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", `mount --bind "$1" "/usr/sbin/$2"; shift 2; exec setpriv --reuid 4711 --regid 4711 --clear-groups "$@"`, "sh", l.path("none"), program, l.program}, l.arguments("image", "-o", "out")...)...)
		cmd.Dir = l.dir
		l.refused(cmd, program+": not found: install e2fsprogs")
	}
}

// TestRefusedImages has images that cannot be signed, and what is said about them.
func TestRefusedImages(t *testing.T) {
	l := newLab(t)
	tree := l.small()
	plain := "rm -f image; mke2fs -q -F -t ext4 -b 1024 -d tree image 8M; "
	check(t, os.Rename(tree, l.path("tree")))
	for _, test := range []struct{ name, script, want string }{
		{"no room", "mke2fs -q -F -t ext4 -b 1024 -I 128 -d tree image 8M", "full: no room for security.ima of "},
		{"a way out", "mke2fs -q -F -t ext4 -b 1024 -I 128 -d tree image 8M", "(tune2fs -O ea_inode), or make the file system with mkfs.ext4 -b 4096 or -I 512, or use a key"},
		{"no xattrs", "mke2fs -q -F -t ext4 -O ^ext_attr image 8M", "tune2fs -O ext_attr"},
		{"quotas", "mke2fs -q -F -t ext4 -O quota -d tree image 8M", "without the feature quota"},
		{"mmp", "mke2fs -q -F -t ext4 -O mmp -d tree image 8M", "tune2fs -O ^mmp"},
		{"damaged", plain + "debugfs -w -R 'set_inode_field <12> links_count 5' image", "e2fsck does not find it clean"},
		{"journal", plain + "debugfs -w -R 'feature needs_recovery' image", "needs_recovery"},
		{"verity behind", plain + "truncate -s 16M image; veritysetup format --hash-offset=8388608 --data-blocks=2048 image image", "behind the file system of the image is a dm-verity hash tree"},
		{"verity beside", plain + "veritysetup format image hash; truncate -s 16M disk; echo '2048,16384\n18432,1024' | sfdisk -q disk; dd if=image of=disk seek=2048 conv=notrunc; dd if=hash of=disk seek=18432 conv=notrunc; mv disk image", "partition 2 is its dm-verity hash tree"},
		{"footer", plain + "truncate -s 9M image; printf AVBf | dd of=image bs=1 seek=$((9437184 - 64)) conv=notrunc", "is a footer of Android Verified Boot"},
		{"vbmeta", plain + "truncate -s 16M disk; echo '2048,16384\n18432,1024' | sfdisk -q disk; dd if=image of=disk seek=2048 conv=notrunc; printf AVB0 | dd of=disk seek=18432 conv=notrunc; mv disk image", "partition 2 has metadata of Android Verified Boot"},
		{"bmap", plain + "echo >image.bmap", "image.bmap has checksums of its blocks"},
		{"bmap of the output", plain + "echo >out.bmap", "out.bmap has checksums of its blocks"},
		{"RAUC", plain + "printf '[image.rootfs]\\nsha256=00\\nfilename=image\\n' >manifest.raucm", "manifest.raucm has its checksum"},
		{"SWUpdate", plain + "echo 'images: ({ filename = \"image\"; sha256 = \"00\"; });' >sw-description", "sw-description has its checksum"},
		{"squashfs", "rm -f image; mksquashfs tree image -quiet -no-progress", "sqfs2tar --no-skip IMAGE | imasign-build tar sign"},
		{"erofs", "mkfs.erofs image tree", "mkfs.erofs --tar=f"},
		{"fat", "truncate -s 8M image; mkfs.fat image", "a FAT file system cannot be read: its files have no xattrs"},
		{"two", plain + "truncate -s 32M disk; echo '2048,16384\n18432,16384' | sfdisk -q disk; dd if=image of=disk seek=2048 conv=notrunc; dd if=image of=disk seek=18432 conv=notrunc; mv disk image", "several file systems"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := *l
			l.TB = t
			cmd := exec.Command("sh", "-ec", test.script)
			cmd.Dir = l.dir
			if r := harness.RunCommand(t, cmd); r.Code != 0 {
				t.Fatalf("%s: %s", test.script, r.Err)
			}
			check(t, os.Chown(l.path("image"), user, user))
			l.refused(l.command("/nowhere", l.arguments("image", "-o", "out")...), test.want)
			for _, name := range []string{"image.bmap", "out.bmap", "manifest.raucm", "sw-description", "hash"} {
				check(t, os.RemoveAll(l.path(name)))
			}
		})
	}
}

// TestNoSpace signs into a directory that is full, and with a full directory for temporary
// files.
func TestNoSpace(t *testing.T) {
	l := newLab(t)
	l.image("image", l.small(), "-t ext4 -b 4096")
	full := l.path("full")
	check(t, os.Mkdir(full, 0o755))
	check(t, unix.Mount("tmpfs", full, "tmpfs", 0, "size=64k,mode=777"))
	defer unix.Unmount(full, unix.MNT_DETACH)
	l.refused(l.command("/nowhere", l.arguments("image", "-o", "full/out")...), "no space left on device")
	check(t, os.WriteFile(filepath.Join(full, "filler"), nil, 0o644))
	for errors.Is(appendTo(filepath.Join(full, "filler")), nil) {
	}
	cmd := l.command("/nowhere", l.arguments("image", "-o", "out")...)
	cmd.Env = append(cmd.Env, "TMPDIR="+full)
	l.refused(cmd, "no space left on device")
	check(t, os.Mkdir(l.path("closed"), 0o755))
	l.refused(l.command("/nowhere", l.arguments("image", "-o", "closed/out")...), "permission denied")
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, 4096))
	return err
}

// TestEndedInBetween ends the program while debugfs runs.
func TestEndedInBetween(t *testing.T) {
	l := newLab(t)
	l.image("image", l.small(), "-t ext4 -b 4096")
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		pid := l.path("tmp/pid")
		bin := l.script("debugfs", "echo $$ >"+pid+".new; mv "+pid+".new "+pid+"; exec sleep 100")
		l.old()
		before := l.sum(l.path("image"))
		cmd := l.command(bin, l.arguments("image", "-o", "out")...)
		check(t, cmd.Start())
		var child int
		eventually(t, "debugfs does not start", func() bool {
			text, _ := os.ReadFile(pid)
			_, err := fmt.Sscan(string(text), &child)
			return err == nil
		})
		check(t, os.Remove(pid))
		check(t, cmd.Process.Signal(signal))
		_ = cmd.Wait() // it fails
		eventually(t, "debugfs does not end", func() bool { return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) })
		if out, _ := os.ReadFile(l.path("out")); string(out) != "old" || l.sum(l.path("image")) != before {
			t.Errorf("%v: a file has changed", signal)
		}
		if files := strings.Join(l.files(), " "); signal != syscall.SIGKILL && files != "image imasign-build keys out tmp" {
			t.Errorf("%v: left %s", signal, files)
		}
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}
