package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// maxLinks is how many symbolic links in a row are followed.
const maxLinks = 8

// item is a file, directory or link of a layout.
type item struct {
	name   string // relative and clean
	mode   fs.FileMode
	size   int64
	link   string      // a link's target, in the form of name
	header *tar.Header // of an archive's item
	offset int64       // of an archive's file in the archive
}

func (i *item) isLink() bool { return i.link != "" }

// store gives access to the files of a layout, in a directory or an archive. It accepts
// only regular files, directories, and links that stay inside.
type store struct {
	name  string
	items map[string]*item
	order []*item

	root    *os.Root         // of a directory
	archive *tarball.Archive // or an archive
	above   string           // the only directory at its top, with a trailing slash; "" if there is no such directory
}

func (s *store) Close() error {
	if s.root != nil {
		return s.root.Close()
	}
	return s.archive.Close()
}

func (s *store) add(i *item) error {
	switch {
	case i.mode.IsRegular(), i.mode.IsDir(), i.isLink():
	case i.mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%s: %w: %q is a symbolic link that leads out of it: copy the files (cp -rL)", s.name, ErrFormat, i.name)
	default:
		return fmt.Errorf("%s: %w: %q is neither a file nor a directory", s.name, ErrFormat, i.name)
	}
	s.items[i.name] = i
	s.order = append(s.order, i)
	return nil
}

// linkTarget returns the target of a symbolic link at name, "" if it is outside the
// layout.
func linkTarget(name, target string) string {
	joined := path.Join(path.Dir(name), target)
	if target == "" || path.IsAbs(target) || joined == "." || joined == ".." || strings.HasPrefix(joined, "../") {
		return ""
	}
	return joined
}

func openDir(dir string) (_ *store, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &store{name: dir, root: root, items: map[string]*item{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		i := &item{name: name, mode: d.Type()}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := root.Readlink(name)
			if err != nil {
				return err
			}
			i.link = linkTarget(name, target)
		}
		return s.add(i)
	})
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return s, nil
}

func openArchive(ctx context.Context, in io.Reader, name string, o tarball.Options) (*store, error) {
	o.Whiteouts = false
	archive, err := tarball.Open(ctx, in, name, o)
	if err != nil {
		return nil, err
	}
	s := &store{name: name, archive: archive, items: map[string]*item{}}
	if err := s.list(ctx); err != nil {
		return nil, errors.Join(err, archive.Close())
	}
	return s, nil
}

// list reads every entry of the archive, with archive/tar: all programs that unpack
// image archives use it, or code derived from it.
func (s *store) list(ctx context.Context) error {
	content := s.archive.Content()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		offset, err := content.Seek(0, io.SeekCurrent)
		if err == nil {
			err = s.entry(h, offset)
		}
		if err != nil {
			return err
		}
	}
	if err := s.checkParents(); err != nil {
		return err
	}
	return s.enter()
}

// enter makes the only directory at the top of an archive its root, if the image is in
// it: some archives are made from the directory above the layout.
func (s *store) enter() error {
	top := ""
	for _, i := range s.order {
		dir, _, below := strings.Cut(i.name, "/")
		if !below && !i.mode.IsDir() || top != "" && top != dir {
			return nil
		}
		top = dir
	}
	if top == "" {
		return nil
	}
	s.above = top + "/"
	all := s.order
	s.items, s.order = map[string]*item{}, nil
	for _, i := range all {
		if i.name == top {
			continue
		}
		i.name = strings.TrimPrefix(i.name, s.above)
		if inside := strings.TrimPrefix(i.link, s.above); inside != i.link {
			i.link = inside
		} else {
			i.link = ""
		}
		if err := s.add(i); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) entry(h *tar.Header, offset int64) error {
	name := path.Clean(h.Name)
	i := &item{name: name, mode: h.FileInfo().Mode(), size: h.Size, header: h, offset: offset}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink:
		i.link = linkTarget(name, h.Linkname)
	case tar.TypeLink:
		i.link = linkTarget("x", h.Linkname)
		i.mode |= fs.ModeSymlink
	case tar.TypeReg, tar.TypeDir:
	default:
		return fmt.Errorf("%s: %w: entry %q of type %q", s.name, ErrFormat, h.Name, h.Typeflag)
	}
	if name == "." && h.Typeflag == tar.TypeDir {
		return nil
	}
	met, twice := s.items[name]
	switch {
	case name == "." || !fs.ValidPath(name):
		return fmt.Errorf("%s: %w: entry %q leads out of it", s.name, ErrFormat, h.Name)
	case twice && met.mode.IsDir() && i.mode.IsDir():
		return nil
	case twice:
		return fmt.Errorf("%s: %w: entry %q appears twice", s.name, ErrFormat, h.Name)
	case h.Format&(tar.FormatPAX|tar.FormatGNU) != 0 && isSparse(h):
		return fmt.Errorf("%s: %w: entry %q is a sparse file", s.name, ErrFormat, h.Name)
	}
	return s.add(i)
}

// isSparse reports whether the entry is a sparse file, whose content is not stored
// plainly in the archive.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// checkParents refuses an entry below an entry that is not a directory.
func (s *store) checkParents() error {
	for _, i := range s.order {
		for dir := path.Dir(i.name); dir != "."; dir = path.Dir(dir) {
			if parent, there := s.items[dir]; there && !parent.mode.IsDir() {
				return fmt.Errorf("%s: %w: entry %q is below %q, which is not a directory", s.name, ErrFormat, i.name, dir)
			}
		}
	}
	return nil
}

// resolve follows links to the file that name is.
func (s *store) resolve(name string) (*item, error) {
	for range maxLinks {
		i, there := s.items[name]
		switch {
		case !there:
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case i.isLink():
			name = i.link
		case i.mode.IsRegular():
			return i, nil
		default:
			return nil, fmt.Errorf("%w: %q is no file", ErrFormat, name)
		}
	}
	return nil, fmt.Errorf("%w: %q: too many links", ErrFormat, name)
}

// blob is an open file: an *os.File or a part of an archive.
type blob struct {
	io.ReaderAt
	io.Closer
	size int64
	file *os.File // nil for a part of an archive
}

// reader returns a reader of the whole blob. tarball.Open accepts both kinds.
func (b *blob) reader() io.Reader {
	if b.file != nil {
		return b.file
	}
	return io.NewSectionReader(b.ReaderAt, 0, b.size)
}

// sum reads the blob to its end.
func (b *blob) sum(ctx context.Context, h hash.Hash) error {
	_, err := io.Copy(h, contextReader{ctx, io.NewSectionReader(b, 0, b.size)})
	return err
}

// verify checks that the blob has the size and digest that its descriptor states.
func (b *blob) verify(ctx context.Context, d *descriptor) error {
	h := d.digest.hash()
	if err := b.sum(ctx, h); err != nil {
		return err
	}
	return d.is(b.size, h)
}

func (b *blob) digest(ctx context.Context) (digest, error) {
	h := sha256.New()
	err := b.sum(ctx, h)
	return digestOf(h), err
}

// open opens a regular file. Any other kind of file is an error, even if it replaced the
// file since the listing: open neither waits for it nor reads it.
func (s *store) open(name string) (*blob, error) {
	i, err := s.resolve(name)
	if err != nil {
		return nil, err
	}
	if s.archive != nil {
		content := io.NewSectionReader(s.archive.Content(), i.offset, i.size)
		return &blob{ReaderAt: content, Closer: io.NopCloser(content), size: i.size}, nil
	}
	f, err := s.root.OpenFile(i.name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %q is no regular file", ErrFormat, i.name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &blob{ReaderAt: f, Closer: f, size: info.Size(), file: f}, nil
}

// text reads a document.
func (s *store) text(name string) ([]byte, error) {
	b, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close() //nolint:errcheck // opened for reading
	if b.size > maxDocument {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", name, ErrFormat, maxDocument)
	}
	text := make([]byte, b.size)
	if _, err := io.ReadFull(b.reader(), text); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

// unchanged fails if the archive changed since it was opened.
func (s *store) unchanged() error {
	if s.archive == nil {
		return nil
	}
	return s.archive.Unchanged()
}
