// Package imagetest tests readers of file systems, in the tests of their packages: it
// compares what a reader finds in an image with the tree that was made into the image, and
// with a mount of the image.
//
//	func TestAgainstTreeAndKernel(t *testing.T) {
//		dir := imagetree.New(t, imagetree.ACLs)
//		tree := imagetree.List(t, dir)
//		image := filepath.Join(t.TempDir(), "image")
//		harness.Must(t, "mksquashfs", dir, image, "-quiet", "-no-progress")
//		imagetest.Compare(t, squashfs.Open, image, tree)
//	}
package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// Compare checks that the reader of an image finds the files of the tree, and that the
// kernel does so too. It also reads pieces of large files in any order.
func Compare[R filesystem.Reader](t *testing.T, open func(io.ReaderAt, int64) (R, error), image string, tree []imagetree.File) {
	t.Helper()
	mounted := imagetree.Mount(t, image)
	defer imagetree.Unmount(t, mounted)
	t.Run("kernel", func(t *testing.T) { imagetree.Same(t, tree, imagetree.List(t, mounted)) })
	r := Open(t, open, image)
	t.Run("reader", func(t *testing.T) { imagetree.Same(t, tree, List(t, r)) })
	t.Run("pieces", func(t *testing.T) { pieces(t, r, mounted) })
}

// Open opens an image with its reader, until the end of the test.
func Open[R filesystem.Reader](t testing.TB, open func(io.ReaderAt, int64) (R, error), image string) R {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it was only read
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(f, info.Size())
	if err != nil {
		t.Fatalf("open %s: %v", filepath.Base(image), err)
	}
	return r
}

// List lists a file system as [imagetree.List] lists a tree.
func List(t testing.TB, r filesystem.Reader) []imagetree.File {
	t.Helper()
	files, err := list(t.Context(), r, 0)
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return files
}

// list reads everything in a file system. It allows as much content as
// [filesystem.Options] say.
func list(ctx context.Context, r filesystem.Reader, maxContent int64) ([]imagetree.File, error) {
	var files []imagetree.File
	met := map[filesystem.ID]imagetree.File{}
	for n, err := range filesystem.Walk(ctx, r, filesystem.Options{MaxContent: maxContent}) {
		if err != nil {
			return nil, err
		}
		f, again := met[n.ID]
		if !again {
			if f, err = file(n); err != nil {
				return nil, fmt.Errorf("%q: %w", n.Path, err)
			}
			met[n.ID] = f
		}
		f.Path = n.Path
		files = append(files, f)
	}
	imagetree.Sort(files)
	return files, nil
}

func file(n filesystem.Node) (f imagetree.File, err error) {
	f = imagetree.File{Mode: kind(n.Mode) | stmode.Permissions(n.Mode), UID: n.UID, GID: n.GID, Major: n.Major, Minor: n.Minor, Xattrs: map[string]string{}}
	xattrs, err := n.Reader.Xattrs(n.ID)
	if err != nil {
		return f, fmt.Errorf("xattrs: %w", err)
	}
	for name, value := range xattrs {
		f.Xattrs[name] = string(value)
	}
	if n.Mode.IsDir() {
		return f, nil
	}
	f.Links, f.First = n.Links, fmt.Sprint(n.ID)
	switch {
	case n.Mode&fs.ModeSymlink != 0:
		var target string
		if target, err = n.Reader.Readlink(n.ID); err == nil {
			f.Size, f.Sum, err = imagetree.Sum(strings.NewReader(target))
		}
	case n.Mode.IsRegular():
		f.Size, f.Sum, err = content(n)
	default:
		return f, nil
	}
	if err == nil && f.Size != n.Size {
		err = fmt.Errorf("the inode states %d bytes, and %d are there", n.Size, f.Size)
	}
	return f, err
}

func kind(m fs.FileMode) uint32 {
	switch m.Type() {
	case fs.ModeDir:
		return unix.S_IFDIR
	case fs.ModeSymlink:
		return unix.S_IFLNK
	case fs.ModeDevice:
		return unix.S_IFBLK
	case fs.ModeDevice | fs.ModeCharDevice:
		return unix.S_IFCHR
	case fs.ModeNamedPipe:
		return unix.S_IFIFO
	case fs.ModeSocket:
		return unix.S_IFSOCK
	case 0:
		return unix.S_IFREG
	}
	return 0
}

// odd is the size of the pieces in which content is read: not a multiple of any block.
const odd = 1_000_003

// content reads a regular file forward.
func content(n filesystem.Node) (int64, string, error) {
	c, err := n.Reader.Open(n.ID)
	if err != nil {
		return 0, "", fmt.Errorf("open: %w", err)
	}
	defer c.Close() //nolint:errcheck // it was only read
	return imagetree.Sum(&forward{c: c, limit: n.Size + 1, piece: make([]byte, min(odd, n.Size+1))})
}

// forward reads content in pieces.
type forward struct {
	c           io.ReaderAt
	at, limit   int64
	piece, left []byte
	err         error
}

func (f *forward) Read(p []byte) (int, error) {
	if len(f.left) == 0 && f.err == nil {
		var n int
		n, f.err = f.c.ReadAt(f.piece, f.at)
		f.left, f.at = f.piece[:n], f.at+int64(n)
		if f.at > f.limit && f.err == nil {
			f.err = errors.New("more content than the inode states")
		}
	}
	if len(f.left) == 0 {
		return 0, f.err
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

// pieces compares pieces of regular files with those of a mount, last ones first.
func pieces(t *testing.T, r filesystem.Reader, mounted string) {
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same pieces each time
	compared := 0
	for n, err := range filesystem.Walk(t.Context(), r, filesystem.Options{}) {
		if err != nil {
			t.Fatalf("walk: %v", err)
		}
		if n.Mode.IsRegular() && n.Size > 4000 && (n.Size > 64<<10 || random.IntN(10) == 0) {
			piecesOf(t, n, filepath.Join(mounted, n.Path), random)
			compared++
		}
	}
	if compared < 20 {
		t.Errorf("only %d files were compared", compared)
	}
}

func piecesOf(t *testing.T, n filesystem.Node, path string, random *rand.Rand) {
	t.Helper()
	want, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close() //nolint:errcheck // it was only read
	got, err := n.Reader.Open(n.ID)
	if err != nil {
		t.Fatalf("%q: open: %v", n.Path, err)
	}
	defer got.Close() //nolint:errcheck // it was only read
	for _, at := range []int64{n.Size - 1, n.Size, n.Size + 10, random.Int64N(n.Size), random.Int64N(n.Size), 0} {
		size := 1 + random.IntN(10_000)
		a, b := make([]byte, size), make([]byte, size)
		na, errA := want.ReadAt(a, at)
		nb, errB := got.ReadAt(b, at)
		if na != nb || !bytes.Equal(a[:na], b[:nb]) || (errA == nil) != (errB == nil) {
			t.Errorf("%q: %d bytes at %d: want %d bytes, %v; got %d bytes, %v, or other bytes", n.Path, len(a), at, na, errA, nb, errB)
		}
	}
}
