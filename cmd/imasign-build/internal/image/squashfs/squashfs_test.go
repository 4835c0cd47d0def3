package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestTrees compares images of a tree with the tree.
func TestTrees(t *testing.T) {
	root := makeTree(t)
	for _, options := range []string{
		"-comp gzip", "-comp xz -Xbcj x86,arm,armthumb,powerpc,sparc,ia64", "-comp zstd", "-comp lz4 -Xhc", "-comp lzma", "-noI -noD -noF -noX",
		"-comp lz4 -b 4k -no-fragments", "-comp lz4 -b 1M -always-use-fragments", "-comp lz4 -no-sparse -no-hardlinks -nopad",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			compare(t, open(t, mksquashfs(t, root, options)), root, !strings.Contains(options, "no-hardlinks"))
		})
	}
}

// makeTree makes a tree with what the format stores in different ways. It is the same at
// each run.
func makeTree(tb testing.TB) string {
	tb.Helper()
	root := tb.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32N(16)) // compresses by half
		}
		return string(b)
	}
	files := map[string]string{
		"empty": "", "one": "1", "block": noise(128 << 10), "blocks": noise(300_000), "zeros": strings.Repeat("\x00", 500_000),
		"hole": strings.Repeat("\x00", 131072) + noise(5000), "random": string(randomBytes(random, 200_000)), "same": noise(70_000), "not UTF-8 \xff": "x",
	}
	files["again"] = files["same"]
	for i := range 600 { // several metadata blocks and runs
		files[fmt.Sprintf("many/%d-%s", i, strings.Repeat("n", i%200))] = noise(i)
	}
	for name, content := range files {
		put(tb, filepath.Join(root, name), content)
	}
	must(tb, os.Symlink(strings.Repeat("t", maxTarget), filepath.Join(root, "long")))
	must(tb, os.Symlink("one", filepath.Join(root, "link")))
	must(tb, os.Link(filepath.Join(root, "one"), filepath.Join(root, "many", "one")))
	must(tb, os.Chmod(filepath.Join(root, "one"), 0o751|fs.ModeSetuid|fs.ModeSticky))
	must(tb, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o640))
	must(tb, syscall.Mknod(filepath.Join(root, "socket"), syscall.S_IFSOCK|0o600, 0))
	must(tb, os.Mkdir(filepath.Join(root, "nothing"), 0o700|fs.ModeSetgid))
	shared := randomBytes(random, 2500)
	for _, name := range []string{"one", "many", "blocks", "empty"} {
		set(tb, filepath.Join(root, name), "user.shared", shared) // out of line but once
		set(tb, filepath.Join(root, name), "user.own", []byte(name))
	}
	set(tb, filepath.Join(root, "same"), "user.empty", nil)
	return root
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// compare walks an image, and expects all that a tree has and nothing else.
func compare(t *testing.T, f *FileSystem, root string, links bool) {
	t.Helper()
	want := map[string]bool{}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		want[strings.TrimPrefix(path, root+"/")] = path != root
		return err
	}))
	delete(want, root)
	ids := map[filesystem.ID]uint64{} // to inode numbers of the tree
	for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
		must(t, err)
		if !want[n.Path] {
			t.Errorf("%q is not in the tree", n.Path)
			continue
		}
		delete(want, n.Path)
		st := compareInode(t, f, n, filepath.Join(root, n.Path))
		if before, seen := ids[n.ID]; links && seen && before != st.Ino {
			t.Errorf("%q has the ID of another file", n.Path)
		}
		ids[n.ID] = st.Ino
	}
	for path := range want {
		t.Errorf("%q is not in the image", path)
	}
}

func compareInode(t *testing.T, f *FileSystem, n filesystem.Node, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	st := info.Sys().(*syscall.Stat_t)
	if n.Mode != info.Mode() || n.UID != st.Uid || n.GID != st.Gid || n.Major != unix.Major(st.Rdev) || n.Minor != unix.Minor(st.Rdev) {
		t.Errorf("%q: %v %d:%d, want %v %d:%d", n.Path, n.Mode, n.UID, n.GID, info.Mode(), st.Uid, st.Gid)
	}
	attributes, err := f.Xattrs(n.ID)
	must(t, err)
	if want := xattrs(t, path); fmt.Sprintf("%q", attributes) != fmt.Sprintf("%q", want) {
		t.Errorf("%q: xattrs %.80q, want %.80q", n.Path, attributes, want)
	}
	switch {
	case n.Mode.IsRegular():
		want, err := os.ReadFile(path)
		must(t, err)
		if got := read(t, f, n); n.Size != st.Size || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes that differ from those of the tree, %d", n.Path, n.Size, st.Size)
		}
	case n.Mode&fs.ModeSymlink != 0:
		want, _ := os.Readlink(path)
		if target, err := f.Readlink(n.ID); target != want || err != nil || n.Size != st.Size {
			t.Errorf("%q links to %q, want %q; %v", n.Path, target, want, err)
		}
	}
	return st
}

// read reads a file in three ways that have to agree.
func read(t *testing.T, f *FileSystem, n filesystem.Node) []byte {
	t.Helper()
	c, err := f.Open(n.ID)
	must(t, err)
	defer c.Close()
	whole := make([]byte, n.Size)
	if k, err := c.ReadAt(whole, 0); int64(k) != n.Size || err != nil {
		t.Fatalf("%q: %d bytes, %v", n.Path, k, err)
	}
	pieces, err := io.ReadAll(io.NewSectionReader(c, 0, n.Size+1))
	if err != nil || !bytes.Equal(pieces, whole) {
		t.Errorf("%q: reading forward in pieces: %v", n.Path, err)
	}
	const size = 7001
	backward := make([]byte, n.Size)
	for at := (n.Size - 1) / size * size; at >= 0 && n.Size > 0; at -= size {
		if _, err := c.ReadAt(backward[at:min(at+size, n.Size)], at); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(backward, whole) {
		t.Errorf("%q: reading backward", n.Path)
	}
	if k, err := c.ReadAt(make([]byte, 5), n.Size); k != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%q: %d bytes behind the end, %v", n.Path, k, err)
	}
	return whole
}

// TestDevices has devices that only root could make in a tree.
func TestDevices(t *testing.T) {
	f := open(t, mksquashfs(t, t.TempDir(), "-all-root -p null_c_666_7_8_1_3 -p disk_b_600_0_6_2748_1048575"))
	want := map[string]filesystem.Inode{
		"null": {Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666, UID: 0, GID: 0, Links: 1, Major: 1, Minor: 3},
		"disk": {Mode: fs.ModeDevice | 0o600, Links: 1, Major: 2748, Minor: 1048575},
	}
	for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
		must(t, err)
		if n.Inode != want[n.Path] {
			t.Errorf("%s: %+v, want %+v", n.Path, n.Inode, want[n.Path])
		}
		delete(want, n.Path)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}

// TestFacts expects the options of mksquashfs.
func TestFacts(t *testing.T) {
	image := mksquashfs(t, makeTree(t), "-comp zstd -b 64k -noI -noX -no-xattrs -always-use-fragments")
	got := open(t, image).Facts()
	if want := "[always-use-fragments exports no-xattrs noI noX zstd]"; fmt.Sprint(got.Features) != want || got.Type != "squashfs" || got.BlockSize != 64<<10 || got.Size > int64(len(image)) {
		t.Errorf("%+v, want the features %s", got, want)
	}
}

// TestParallel reads all files from several goroutines.
func TestParallel(t *testing.T) {
	f := open(t, mksquashfs(t, makeTree(t), "-comp gzip -b 16k"))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
				if err == nil && n.Mode.IsRegular() {
					err = readOn(f, n)
				}
				if err != nil {
					t.Errorf("%q: %v", n.Path, err)
				}
			}
		})
	}
	group.Wait()
}

func readOn(f *FileSystem, n filesystem.Node) error {
	c, err := f.Open(n.ID)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(io.Discard, io.NewSectionReader(c, 0, n.Size))
	return err
}

// mksquashfs returns an image of a tree. An underscore in an option stands for a space.
func mksquashfs(tb testing.TB, root, options string) []byte {
	tb.Helper()
	harness.Tool(tb, "mksquashfs")
	out := filepath.Join(tb.TempDir(), "image")
	arguments := []string{root, out, "-quiet", "-no-progress", "-noappend", "-processors", "1"}
	for option := range strings.FieldsSeq(options) {
		arguments = append(arguments, strings.ReplaceAll(option, "_", " "))
	}
	if text, err := exec.Command("mksquashfs", arguments...).CombinedOutput(); err != nil {
		tb.Fatalf("mksquashfs %s: %v\n%s", options, err, text)
	}
	image, err := os.ReadFile(out)
	must(tb, err)
	return image
}

func open(tb testing.TB, image []byte) *FileSystem {
	tb.Helper()
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	must(tb, err)
	return f
}

func put(tb testing.TB, path, content string) {
	tb.Helper()
	must(tb, os.MkdirAll(filepath.Dir(path), 0o755))
	must(tb, os.WriteFile(path, []byte(content), 0o644))
}

func set(tb testing.TB, path, name string, value []byte) {
	tb.Helper()
	must(tb, unix.Lsetxattr(path, name, value, 0))
}

// xattrs returns the xattrs of a file that squashfs stores.
func xattrs(t *testing.T, path string) map[string][]byte {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	must(t, err)
	set := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "system.") {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		set[name] = value[:n]
	}
	return set
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// TestRefused has images that no Reader takes.
func TestRefused(t *testing.T) {
	good := mksquashfs(t, t.TempDir(), "")
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   error
		text   string
	}{
		"nothing":     {func([]byte) []byte { return nil }, filesystem.ErrCorrupt, "0 bytes"},
		"magic":       {func(b []byte) []byte { b[0]++; return b }, filesystem.ErrCorrupt, "not a squashfs"},
		"truncated":   {func(b []byte) []byte { return b[:120] }, filesystem.ErrCorrupt, "truncated"},
		"big-endian":  {func(b []byte) []byte { copy(b, "sqsh"); b[28], b[29], b[30] = 0, 3, 0; return b }, filesystem.ErrUnsupported, "big-endian squashfs 3.0"},
		"version 3":   {func(b []byte) []byte { b[28], b[30] = 3, 1; return b }, filesystem.ErrUnsupported, "squashfs 3.1"},
		"lzo":         {func(b []byte) []byte { b[20] = 3; return b }, filesystem.ErrUnsupported, "lzo"},
		"compressor":  {func(b []byte) []byte { b[20] = 99; return b }, filesystem.ErrUnsupported, "99"},
		"block size":  {func(b []byte) []byte { b[13]++; return b }, filesystem.ErrCorrupt, "blocks of"},
		"block log":   {func(b []byte) []byte { b[22]++; return b }, filesystem.ErrCorrupt, "2^18"},
		"no owners":   {func(b []byte) []byte { b[26] = 0; return b }, filesystem.ErrCorrupt, "no owners"},
		"many owners": {func(b []byte) []byte { b[26] = 255; return b }, filesystem.ErrCorrupt, "owners"},
		"inode table": {func(b []byte) []byte { b[70] = 1; return b }, filesystem.ErrCorrupt, "table"},
		"xattr table": {func(b []byte) []byte { b[63] = 0; return b }, filesystem.ErrCorrupt, "xattrs"},
		"owner table": {func(b []byte) []byte { b[54] = 1; return b }, filesystem.ErrCorrupt, "table"},
		"options":     {func(b []byte) []byte { b[25] |= 4; b[96], b[97] = 0, 0; return b }, filesystem.ErrCorrupt, "options"},
	} {
		image := c.change(bytes.Clone(good))
		_, err := Open(bytes.NewReader(image), int64(len(image)))
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
}
