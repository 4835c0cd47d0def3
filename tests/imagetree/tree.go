package imagetree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// Feature is a part of the tree that some mkfs cannot keep.
type Feature string

const (
	// ACLs are POSIX ACLs, which are xattrs of the namespace system. squashfs has none.
	ACLs Feature = "ACLs"
	// EmptyXattrs are xattrs without a value.
	EmptyXattrs Feature = "empty xattrs"
	// LargeXattrs are values of 2,500 bytes. ext2, ext3 and ext4 with blocks of 1 KiB keep
	// them only with ea_inode.
	LargeXattrs Feature = "large xattrs"
	// LinkedSymlinks are symbolic links with two names. `mke2fs -d` makes two of them.
	LinkedSymlinks Feature = "linked symbolic links"
	// LongestNames have 255 bytes. mkfs.erofs 1.5 cuts them and fails.
	LongestNames Feature = "names of 255 bytes"
	// LongSymlinks have targets of more than 1,000 bytes. ext2, ext3 and ext4 have them only
	// with blocks of 4 KiB.
	LongSymlinks Feature = "long symbolic links"
	// TailHoles are files that end in a hole. `mke2fs -O inline_data -d` truncates them.
	TailHoles Feature = "files that end in a hole"
	// Holes are all files with holes, TailHoles included.
	Holes Feature = "files with holes"
)

// Full reports whether the tree is the large one: more than 5,000 files with a hole of 900
// MB. IMASIGN_NIGHTLY=1 selects it. The other one has some 800 files in 30 MB.
func Full() bool { return harness.Nightly() }

// maker writes the tree. Methods end the test if something fails.
type maker struct {
	testing.TB
	dir     string
	size    size
	without []Feature
}

// size of a tree.
type size int

const (
	tiny size = iota
	small
	large
)

// New makes the tree, which needs root, in a temporary directory of the test. All calls
// make the same files, but for executables.
func New(t testing.TB, without ...Feature) string {
	t.Helper()
	size := small
	if Full() {
		size = large
	}
	return fill(t, size, without)
}

// Tiny makes a tree with files of the same kinds, of which there are some 300 in 3 MB.
func Tiny(t testing.TB, without ...Feature) string {
	t.Helper()
	return fill(t, tiny, without)
}

func fill(t testing.TB, size size, without []Feature) string {
	t.Helper()
	harness.Root(t)
	m := maker{t, t.TempDir(), size, without}
	defer unix.Umask(unix.Umask(0))
	m.permissions()
	m.contents()
	m.holes()
	m.names()
	m.manyNames()
	m.deep()
	m.special()
	m.symlinks()
	m.links()
	m.xattrs()
	m.filler()
	return m.dir
}

func (m *maker) with(f Feature) bool {
	return !slices.Contains(m.without, f) && (f != TailHoles || m.with(Holes))
}

// pick returns the number for the size of the tree.
func (m *maker) pick(numbers ...int) int { return numbers[m.size] }

func (m *maker) must(path string, err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%q: %v", path, err)
	}
}

// path returns the path of a file, and makes the directories above it.
func (m *maker) path(name string) string {
	m.Helper()
	path := filepath.Join(m.dir, name)
	m.must(name, os.MkdirAll(filepath.Dir(path), 0o755))
	return path
}

func (m *maker) mkdir(name string, mode uint32) {
	m.Helper()
	path := m.path(name)
	err := unix.Mkdir(path, 0o700)
	if errors.Is(err, unix.EEXIST) {
		err = nil
	}
	m.must(name, errors.Join(err, unix.Chmod(path, mode)))
}

// file writes a file with a mode and content.
func (m *maker) file(name string, mode uint32, content []byte) {
	m.Helper()
	path := m.path(name)
	m.must(name, errors.Join(os.WriteFile(path, content, 0o600), unix.Chmod(path, mode)))
}

func (m *maker) own(name string, uid, gid int, mode uint32) {
	m.Helper()
	path := m.path(name)
	// chown clears setuid and setgid.
	m.must(name, errors.Join(unix.Lchown(path, uid, gid), unix.Chmod(path, mode)))
}

// permissions makes files with unusual modes and owners.
func (m *maker) permissions() {
	for _, mode := range []uint32{0, 0o400, 0o644, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777} {
		m.file(fmt.Sprintf("modes/f%04o", mode), mode, fmt.Appendf(nil, "mode %o\n", mode))
		m.mkdir(fmt.Sprintf("modes/d%04o", mode), mode)
	}
	for _, id := range []int{1, 65534, 65535, 65536, 70000, 4_000_000_000} {
		name := fmt.Sprintf("owners/%d", id)
		m.file(name, 0o644, []byte(name))
		m.own(name, id, 0, 0o4750)
		m.file(name+"-group", 0o644, []byte(name))
		m.own(name+"-group", 0, id, 0o2750)
		m.mkdir(name+"-both", 0o755)
		m.own(name+"-both", id, id, 0o3770)
	}
}

// names makes names that are hard to print, to sort and to store.
func (m *maker) names() {
	for _, name := range []string{
		"caf\xe9", "\xff\xfe", "caf\u00e9", "\u6f22\u5b57", " space ", "new\nline", "\\x41", `"quoted"`, "'", "-dash", "$x", "*", "\x01\x7f\x1b[31m", "...",
		strings.Repeat("n", 255), strings.Repeat("\xe9", 255), strings.Repeat("\u6f22", 85), strings.Repeat("n", 254), "n",
		"order", "order-b", "order.c", "order/x", "order/y", "order0",
	} {
		switch {
		case name == "order":
			m.mkdir("names/"+name, 0o755)
		case len(name) < 255 || m.with(LongestNames):
			m.file("names/"+name, 0o644, []byte(name))
		}
	}
}

// manyNames makes a large directory.
func (m *maker) manyNames() {
	for i := range m.pick(100, 400, 3000) {
		m.file(fmt.Sprintf("many/a-name-that-is-not-too-short-%05d", i*7919%100_003), 0o644, fmt.Appendf(nil, "%d\n", i%50))
	}
	m.mkdir("empty-directory", 0o755)
}

// deep makes 60 levels of directories.
func (m *maker) deep() {
	name := "deep"
	for i := range 60 {
		name = fmt.Sprintf("%s/level%d", name, i)
		if i%20 == 19 {
			m.file(name+"/file", 0o644, []byte(name))
		}
	}
}

// special makes devices, pipes and sockets.
func (m *maker) special() {
	for name, n := range map[string]struct {
		mode         uint32
		major, minor uint32
	}{
		"null": {unix.S_IFCHR | 0o666, 1, 3}, "console": {unix.S_IFCHR | 0o600, 5, 1}, "sda1": {unix.S_IFBLK | 0o660, 8, 1}, "zero-device": {unix.S_IFCHR, 0, 0},
		"largest-old": {unix.S_IFBLK | 0o600, 255, 255}, "minor256": {unix.S_IFCHR | 0o600, 4, 256}, "major256": {unix.S_IFBLK | 0o600, 256, 1}, "largest": {unix.S_IFCHR | 0o4640, 4095, 1<<20 - 1},
		"fifo": {unix.S_IFIFO | 0o622, 0, 0}, "socket": {unix.S_IFSOCK | 0o755, 0, 0},
	} {
		name = "dev/" + name
		m.must(name, unix.Mknod(m.path(name), n.mode, int(unix.Mkdev(n.major, n.minor))))
		m.own(name, 0, 6, n.mode&0o7777)
	}
}

// symlinks makes targets around the limits of what fits an inode and a block.
func (m *maker) symlinks() {
	for _, n := range []int{1, 58, 59, 60, 61, 120, 255, 1000, 1023, 1024, 2048, 4000, 4095} {
		if n > 1000 && !m.with(LongSymlinks) {
			continue
		}
		name := fmt.Sprintf("symlinks/%d", n)
		m.must(name, unix.Symlink(strings.Repeat("../nowhere/", 400)[:n], m.path(name)))
		m.must(name, unix.Lchown(m.path(name), n, n+70000))
	}
	m.must("symlinks/bytes", unix.Symlink("\xff caf\xe9\n", m.path("symlinks/bytes")))
}

// links makes hard links, of files of several types, in several directories.
func (m *maker) links() {
	m.file("links/b/first", 0o755, text("links", 5000))
	for _, name := range []string{"links/a/second", "links/third", "zz-fourth"} {
		m.must(name, unix.Link(m.path("links/b/first"), m.path(name)))
	}
	for i := range m.pick(5, 20, 300) {
		name := fmt.Sprintf("links/many/%d", i)
		m.must(name, unix.Link(m.path("names/n"), m.path(name)))
	}
	linked := []string{"dev/null", "dev/fifo"}
	if m.with(LinkedSymlinks) {
		linked = append(linked, "symlinks/1")
	}
	for _, name := range linked {
		m.must(name, unix.Link(m.path(name), m.path("links/"+filepath.Base(name))))
	}
}

// filler makes files as a device has them, until there are enough.
func (m *maker) filler() {
	for i := range m.pick(10, 100, 2000) {
		name := fmt.Sprintf("usr/lib/package%d/file%d", i/23, i)
		m.file(name, 0o644, text(name, i*i*37%20_000))
		m.set(name, "security.ima", signature(name, 256))
	}
}
