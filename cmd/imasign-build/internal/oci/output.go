package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/input"
)

// output writes the new layout. Names are those of items.
type output interface {
	// put writes a file with size bytes of content. It gets the owner and times of the
	// item like, unless like is nil.
	put(name string, like *item, size int64, content io.Reader) error
	// temporary returns a file to write a blob to. Then adopt gives it a name, or drop
	// discards it.
	temporary() (*os.File, error)
	adopt(f *os.File, name string, like *item, size int64) error
	drop(f *os.File)
	// special writes a directory, or a link with a new target.
	special(i *item, target string) error
	has(name string) bool
}

// dirOutput is a new directory before it has its name.
type dirOutput struct{ target, dir string }

func newDirOutput(dir string) (*dirOutput, error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("create %s: %w", dir, ErrExists)
	}
	dir = filepath.Clean(dir)
	temporary, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", dir, err)
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(temporary))
	}
	return &dirOutput{target: dir, dir: temporary}, nil
}

func (o *dirOutput) path(name string) string { return filepath.Join(o.dir, filepath.FromSlash(name)) }

func (o *dirOutput) has(name string) bool {
	_, err := os.Lstat(o.path(name))
	return err == nil
}

func (o *dirOutput) put(name string, _ *item, _ int64, content io.Reader) error {
	if d := blobDigest(name); d != "" {
		algorithm, digits, _ := strings.Cut(string(d), ":")
		return layout.Path(o.dir).WriteBlob(v1.Hash{Algorithm: algorithm, Hex: digits}, io.NopCloser(content))
	}
	if err := os.MkdirAll(filepath.Dir(o.path(name)), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(o.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

func (o *dirOutput) temporary() (*os.File, error) { return os.CreateTemp(o.dir, "layer-*") }

func (o *dirOutput) adopt(f *os.File, name string, _ *item, _ int64) error {
	if err := os.MkdirAll(filepath.Dir(o.path(name)), 0o755); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), o.path(name)), f.Close())
}

// drop leaves the file in the directory, which is removed later.
func (o *dirOutput) drop(f *os.File) { _ = f.Close() }

func (o *dirOutput) special(i *item, target string) error {
	if i.mode.IsDir() {
		return os.MkdirAll(o.path(i.name), 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(o.path(i.name)), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, o.path(i.name))
}

// publish gives the directory its name.
func (o *dirOutput) publish() error {
	d, err := os.Open(o.dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written through it
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s: %w", o.target, err)
	}
	err = unix.Renameat2(unix.AT_FDCWD, o.dir, unix.AT_FDCWD, o.target, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system without this flag; a rename replaces nothing but an empty directory
		err = os.Rename(o.dir, o.target)
	}
	if errors.Is(err, os.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", o.target, err)
	}
	o.dir = ""
	return nil
}

// discard removes what was not published.
func (o *dirOutput) discard() error {
	if o.dir == "" {
		return nil
	}
	return os.RemoveAll(o.dir)
}

// tarOutput writes an archive from its beginning to its end.
type tarOutput struct {
	w       *tar.Writer
	written map[string]bool
	prefix  string // of all names
}

func newTarOutput(w io.Writer, s *store) *tarOutput {
	o := &tarOutput{w: tar.NewWriter(w), written: map[string]bool{}}
	for _, i := range s.order {
		if strings.HasPrefix(i.header.Name, "./") {
			o.prefix = "./"
		}
	}
	o.prefix += s.above
	return o
}

func (o *tarOutput) has(name string) bool { return o.written[name] }

// begin writes a header with the owner and the times of an item.
func (o *tarOutput) begin(kind byte, name string, like *item, size int64, link string) error {
	h := tar.Header{Typeflag: kind, Mode: 0o644, Name: o.prefix + name, Size: size, Linkname: link}
	if like != nil {
		from := like.header
		h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime = from.Mode, from.Uid, from.Gid, from.Uname, from.Gname, from.ModTime
	}
	if kind == tar.TypeDir {
		h.Name += "/"
	}
	o.written[name] = true
	return o.w.WriteHeader(&h)
}

func (o *tarOutput) put(name string, like *item, size int64, content io.Reader) error {
	if err := o.begin(tar.TypeReg, name, like, size, ""); err != nil {
		return err
	}
	n, err := io.Copy(o.w, content)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// temporary returns a file without a name, so that nothing is left however the process ends.
func (o *tarOutput) temporary() (*os.File, error) {
	f, err := input.Spool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpool, err)
	}
	return f, nil
}

func (o *tarOutput) adopt(f *os.File, name string, like *item, size int64) error {
	_, err := f.Seek(0, io.SeekStart)
	if err == nil {
		err = o.put(name, like, size, f)
	}
	return errors.Join(err, f.Close())
}

func (o *tarOutput) drop(f *os.File) { _ = f.Close() }

func (o *tarOutput) special(i *item, target string) error {
	if i.isLink() && i.header.Typeflag == tar.TypeLink {
		target = o.prefix + path.Join(path.Dir(i.name), target)
	}
	return o.begin(i.header.Typeflag, i.name, i, 0, target)
}
