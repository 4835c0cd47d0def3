package imagetest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// directory reads a tree of this machine as if it were an image.
type directory struct {
	root  string
	paths map[filesystem.ID]string
}

func openDirectory(root string) *directory {
	d := &directory{root, map[filesystem.ID]string{}}
	d.paths[d.id("")] = ""
	return d
}

func (d *directory) stat(path string) (st unix.Stat_t, err error) {
	return st, unix.Lstat(filepath.Join(d.root, path), &st)
}

func (d *directory) id(path string) filesystem.ID {
	st, err := d.stat(path)
	if err != nil {
		panic(err)
	}
	return filesystem.ID(st.Ino)
}

func (d *directory) Facts() filesystem.Facts { return filesystem.Facts{Type: "ext4"} }
func (d *directory) Root() filesystem.ID     { return d.id("") }

func (d *directory) Inode(id filesystem.ID) (filesystem.Inode, error) {
	st, err := d.stat(d.paths[id])
	in := filesystem.Inode{Mode: stmode.FileMode(st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size, Links: uint64(st.Nlink)} //nolint:unconvert // Nlink is not uint64 on all systems
	if in.Mode&fs.ModeDevice != 0 {
		in.Major, in.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return in, err
}

func (d *directory) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	list, err := os.ReadDir(filepath.Join(d.root, d.paths[id]))
	for _, e := range list {
		path := filepath.Join(d.paths[id], e.Name())
		d.paths[d.id(path)] = path
		if err := take(filesystem.Dirent{Name: e.Name(), ID: d.id(path)}); err != nil {
			return err
		}
	}
	return err
}

func (d *directory) Readlink(id filesystem.ID) (string, error) {
	return os.Readlink(filepath.Join(d.root, d.paths[id]))
}

func (d *directory) Xattrs(id filesystem.ID) (map[string][]byte, error) {
	path, buf, all := filepath.Join(d.root, d.paths[id]), make([]byte, 64<<10), map[string][]byte{}
	n, err := unix.Llistxattr(path, buf)
	for name := range strings.SplitSeq(string(buf[:max(0, n)]), "\x00") {
		value := make([]byte, 4096)
		if n, err := unix.Lgetxattr(path, name, value); name != "" && err == nil {
			all[name] = value[:n]
		}
	}
	return all, err
}

func (d *directory) Open(id filesystem.ID) (filesystem.Content, error) {
	return os.Open(filepath.Join(d.root, d.paths[id]))
}

// TestCompare compares ext4 as the kernel reads it with itself.
func TestCompare(t *testing.T) {
	dir := imagetree.New(t, imagetree.LinkedSymlinks) // mke2fs makes two of them
	image := filepath.Join(t.TempDir(), "image")
	harness.Must(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", dir, image, map[bool]string{true: "1G", false: "100M"}[imagetree.Full()])
	mounted := imagetree.Mount(t, image)
	Compare(t, func(io.ReaderAt, int64) (*directory, error) { return openDirectory(mounted), nil }, image, imagetree.List(t, dir))
}

// TestAttempt checks that what a bad reader does is noticed.
func TestAttempt(t *testing.T) {
	var kept []byte
	for _, c := range []struct {
		want string // "" for no complaint
		open func(io.ReaderAt, int64) (*directory, error)
	}{
		{"", func(io.ReaderAt, int64) (*directory, error) { return nil, filesystem.Corrupt("no superblock") }},
		{"", func(io.ReaderAt, int64) (*directory, error) {
			return nil, fmt.Errorf("a: %w", filesystem.Unsupported("encrypt"))
		}},
		{"an error that is none of package filesystem: EOF", func(io.ReaderAt, int64) (*directory, error) { return nil, io.EOF }},
		{"panic: runtime error: index out of range [5] with length 5", func(_ io.ReaderAt, size int64) (*directory, error) {
			return nil, errors.New(string("image"[size]))
		}},
		{"MiB of memory", func(io.ReaderAt, int64) (*directory, error) {
			kept = make([]byte, maxMemory+1<<20)
			return nil, filesystem.Corrupt("much")
		}},
	} {
		o := attempt(c.open, imagetree.Whole([]byte("image")))
		if got := strings.Join(o.complaints(), "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	clear(kept)
}
