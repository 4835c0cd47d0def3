package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Source lists the files of the file systems in an image.
type Source struct {
	image   *Image
	root    filesystem.Reader
	options filesystem.Options
	numbers map[filesystem.Reader]int // to tell inodes of different file systems apart
}

var _ signing.Source = (*Source)(nil)

// Source returns the files of the chosen volumes, one of which must be mounted on the
// root. o.Mounts is ignored.
func (i *Image) Source(mounts []Mount, o filesystem.Options) (*Source, error) {
	s := &Source{image: i, options: o, numbers: map[filesystem.Reader]int{}}
	s.options.Mounts = map[string]filesystem.Reader{}
	for k, m := range mounts {
		r, err := i.FileSystem(m.Volume)
		if err != nil {
			return nil, err
		}
		twice := s.options.Mounts[m.At] != nil
		if m.At == "" {
			twice, s.root = s.root != nil, r
		} else {
			s.options.Mounts[m.At] = r
		}
		if twice {
			return nil, fmt.Errorf("%s: %w: %s", i.name, ErrMountedTwice, quote.Name("/"+m.At))
		}
		s.numbers[r] = k
	}
	if s.root == nil {
		return nil, fmt.Errorf("%s: %w", i.name, ErrNoRoot)
	}
	return s, nil
}

// Root returns the file system that is mounted on the root.
func (s *Source) Root() filesystem.Reader { return s.root }

// Readers returns the file systems, in the order of the volumes that were chosen.
func (s *Source) Readers() []filesystem.Reader {
	list := make([]filesystem.Reader, len(s.numbers))
	for r, k := range s.numbers {
		list[k] = r
	}
	return list
}

// Walk yields every name, as [filesystem.Walk] does.
func (s *Source) Walk(ctx context.Context) iter.Seq2[filesystem.Node, error] {
	return func(yield func(filesystem.Node, error) bool) {
		for n, err := range filesystem.Walk(ctx, s.root, s.options) {
			if err != nil {
				err = fmt.Errorf("%s: %w", s.image.name, err)
			}
			if !yield(n, err) {
				return
			}
		}
		if err := s.image.Unchanged(); err != nil {
			yield(filesystem.Node{}, err)
		}
	}
}

// Entries lists every name in the byte order of the paths. Entries that cannot be signed
// have a Reason. The first error ends the list.
func (s *Source) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for n, err := range s.Walk(ctx) {
			if err != nil {
				yield(signing.Entry{}, err)
				return
			}
			if !yield(s.entry(&n), nil) {
				return
			}
		}
	}
}

func (s *Source) entry(n *filesystem.Node) signing.Entry {
	e := signing.Entry{Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Device: manifest.Device(n.Mode, n.Major, n.Minor)}
	if n.Mode&fs.ModeSymlink != 0 {
		link := *n
		e.Readlink = func() (string, error) { return s.Readlink(&link) }
	}
	if !n.Mode.IsRegular() {
		e.Reason = manifest.Kind(n.Mode)
		return e
	}
	e.Size = n.Size
	if n.Links > 1 {
		e.Links, e.Group = n.Links, fmt.Sprintf("%d:%d", s.numbers[n.Reader], n.ID)
	}
	open := s.opener(n)
	e.Open = func(context.Context) (*signing.File, error) {
		f, err := open()
		if err != nil {
			return nil, err
		}
		xattrs, err := f.Xattrs()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &signing.File{ReadCloser: f, Xattrs: xattrs}, nil
	}
	return e
}

// Open opens a regular file that Walk yielded. The file is for one goroutine.
func (s *Source) Open(n *filesystem.Node) (*File, error) { return s.opener(n)() }

// opener returns what opens a file, any number of times.
func (s *Source) opener(n *filesystem.Node) func() (*File, error) {
	reader, id, size, name := n.Reader, n.ID, n.Size, s.name(n.Path)
	return func() (*File, error) {
		content, err := reader.Open(id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return &File{Content: content, reader: reader, id: id, name: name, size: size}, nil
	}
}

// Readlink returns the target of a symbolic link that Walk yielded.
func (s *Source) Readlink(n *filesystem.Node) (string, error) {
	target, err := n.Reader.Readlink(n.ID)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.name(n.Path), err)
	}
	return target, nil
}

// name returns the name of a file in errors.
func (s *Source) name(path string) string { return s.image.name + ": " + path }

// File is an open file. It can be read from its beginning to its end, and at offsets.
type File struct {
	filesystem.Content

	reader   filesystem.Reader
	id       filesystem.ID
	name     string
	at, size int64
}

// Xattrs returns the security.* xattrs of the file.
func (f *File) Xattrs() (map[string][]byte, error) {
	xattrs, err := f.reader.Xattrs(f.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	maps.DeleteFunc(xattrs, func(x string, _ []byte) bool { return !strings.HasPrefix(x, "security.") })
	return xattrs, nil
}

// Read reads the next part of the content.
func (f *File) Read(b []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	n, err := f.ReadAt(b[:min(int64(len(b)), f.size-f.at)], f.at)
	f.at += int64(n)
	switch {
	case n > 0 && errors.Is(err, io.EOF):
		err = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", f.name, err)
	}
	return n, err
}
