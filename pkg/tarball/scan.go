package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Limits of what is held in memory for one entry. GNU tar has no such limits. archive/tar
// has only the first.
const (
	maxExtension = 1 << 20 // bytes of one extended header
	maxSparse    = 8 << 20 // bytes of sparse map after an old GNU header
	maxRun       = 24      // number of headers before one entry; bsdtar reads 32
)

// member is one entry of the archive with the extended headers before it. Offsets are in
// bytes of the decompressed archive.
type member struct {
	start   int64 // offset of its first block, which is an extended header if it has one
	header  int64 // offset of its header block
	content int64 // offset of its content
	size    int64 // bytes of content in the archive; a sparse file is larger
	end     int64 // end of its last block

	typeflag byte
	prefix   []byte // the blocks between start and header
	block    block
	pax      *extension // its pax extended header; nil if none
	longName string     // from GNU's headers; "" if none
	longLink string
	uid, gid string // from the last global header before it; "" if none
}

// scanner reads the headers of an archive and skips the contents. Hostile input cannot make
// it use more memory than the limits above.
type scanner struct {
	file   io.ReaderAt
	size   int64
	stored int64 // number of bytes in the input; zeros follow up to size
	offset int64 // of the next block
	run    int   // number of extended headers, global headers and labels since the last entry

	linked   bool   // the header of an earlier entry named a link target
	uid, gid string // from the last global header; "" if none

	window   []byte
	windowAt int64
}

func (a *Archive) scan() *scanner {
	return &scanner{file: a.file, size: a.size, stored: a.stored, window: make([]byte, 0, 16*blockSize)}
}

// next returns the next member. At the end of the archive it returns io.EOF, and s.offset
// is where the zero blocks begin.
func (s *scanner) next() (*member, error) {
	m := &member{start: s.offset}
	met := map[byte]bool{}
	for {
		at := s.offset
		more, err := s.read(&m.block, at)
		if err != nil {
			return nil, err
		}
		if !more {
			if at != m.start {
				return nil, fmt.Errorf("%w: an extended header at byte %d without an entry", ErrFormat, m.start)
			}
			return nil, io.EOF
		}
		kind := m.block.typeflag()
		switch kind {
		case typePax, typePaxSolaris, typeLongName, typeLongLink:
			if kind == typePaxSolaris {
				kind = typePax
			}
			if met[kind] {
				return nil, fmt.Errorf("%w: two extended headers of type %q at byte %d", ErrFormat, kind, at)
			}
			met[kind] = true
			if err := s.extend(m, at); err != nil {
				return nil, fmt.Errorf("extended header at byte %d: %w", at, err)
			}
			continue
		}
		if err := s.finish(m, at); err != nil {
			return nil, fmt.Errorf("entry %q at byte %d: %w", m.name(), at, err)
		}
		return m, s.count(m, len(met))
	}
}

// read reads a header block at offset; more is false at the archive's end.
func (s *scanner) read(b *block, offset int64) (more bool, err error) {
	if offset == s.size {
		return false, nil
	}
	text, err := s.bytes(offset, blockSize)
	if err != nil {
		return false, err
	}
	if copy(b[:], text); b.isZero() {
		return false, nil
	}
	switch {
	case offset+blockSize > s.stored:
		return false, s.cutInHeader()
	case b.checksumHolds():
		if err := b.check(); err != nil {
			return false, fmt.Errorf("header %q at byte %d: %w", b.name(), offset, err)
		}
		return true, nil
	case offset == 0:
		return false, fmt.Errorf("%w, nor compressed in a supported format", ErrFormat)
	}
	return false, fmt.Errorf("%w: no header at byte %d (the checksum is wrong)", ErrFormat, offset)
}

func (s *scanner) cutInHeader() error {
	return fmt.Errorf("%w: it ends at byte %d inside a header", ErrTruncated, s.stored)
}

// bytes returns n bytes at offset. They are valid until the next call.
func (s *scanner) bytes(offset int64, n int) ([]byte, error) {
	if offset+int64(n) > s.size {
		return nil, s.cutInHeader()
	}
	if offset < s.windowAt || offset+int64(n) > s.windowAt+int64(len(s.window)) {
		s.windowAt = offset
		s.window = s.window[:min(int64(cap(s.window)), s.size-offset)]
		if got, err := s.file.ReadAt(s.window, offset); got < len(s.window) {
			s.window = s.window[:0]
			return nil, fmt.Errorf("read at byte %d: %w", offset, err)
		}
	}
	from := offset - s.windowAt
	return s.window[from : from+int64(n)], nil
}

// count refuses so many headers before an entry that bsdtar gives up.
func (s *scanner) count(m *member, extended int) error {
	s.run += extended
	if m.typeflag != typePaxGlobal && m.typeflag != typeVolume {
		s.run = 0
		return nil
	}
	if s.run++; s.run > maxRun {
		return fmt.Errorf("%w: more than %d headers in a row without an entry before byte %d", ErrAmbiguous, maxRun, m.end)
	}
	return nil
}

// finish completes the member whose header block is at the offset at.
func (s *scanner) finish(m *member, at int64) (err error) {
	m.header, m.content, m.typeflag = at, at+blockSize, m.block.typeflag()
	if m.typeflag == typePaxGlobal {
		return s.finishGlobal(m)
	}
	var sm sparseMap
	if m.typeflag == typeSparse {
		if sm, err = s.oldMap(m); err != nil {
			return err
		}
	}
	if m.size, err = m.contentSize(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	if m.size > math.MaxInt64-blockSize-m.content || m.content+m.size > s.stored {
		return fmt.Errorf("%w: %d bytes of content at byte %d, but the archive ends at byte %d", ErrTruncated, m.size, m.content, s.stored)
	}
	m.end = m.content + padded(m.size)
	if err := s.primes(m); err != nil {
		return err
	}
	m.uid, m.gid = s.uid, s.gid
	if s.offset = m.end; !m.isSparse() {
		return nil
	}
	if sm.stored = m.size; m.typeflag != typeSparse {
		if sm, err = s.paxMap(m); err != nil {
			return err
		}
	}
	return sm.check()
}

// primes refuses a link whose header block names no target if no earlier header block
// named one. bsdtar extracts it as a file, even if an extended header names the target.
func (s *scanner) primes(m *member) error {
	if m.block[157] == 0 && m.isLink() && !s.linked {
		return fmt.Errorf("%w: a link whose header names no target, which bsdtar extracts as a file", ErrAmbiguous)
	}
	s.linked = s.linked || m.block[157] != 0 || m.isLink()
	return nil
}

// contentSize returns the number of content bytes after the header.
func (m *member) contentSize() (int64, error) {
	size, err := m.block.size()
	if err != nil || m.pax == nil {
		return size, err
	}
	if text := value(m.pax.records, "size"); text != "" {
		return parseSize(text)
	}
	return size, nil
}

// isSparse reports whether the entry is a sparse file, whose content in the archive lacks
// the holes.
func (m *member) isSparse() bool {
	if m.typeflag == typeSparse {
		return true
	}
	if m.pax != nil {
		for _, r := range m.pax.records {
			if r.isSparse() {
				return true
			}
		}
	}
	return false
}

// reader returns a reader of archive/tar that has read the header of this one member, and
// the header.
func (a *Archive) reader(m *member) (*tar.Reader, *tar.Header, error) {
	text := slices.Concat(m.prefix, m.block[:])
	after := m.header + blockSize
	r := tar.NewReader(io.MultiReader(bytes.NewReader(text), io.NewSectionReader(a.file, after, m.end-after)))
	h, err := r.Next()
	if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
		return nil, nil, fmt.Errorf("entry %q at byte %d: %w: %w", m.name(), m.header, ErrFormat, err)
	}
	if h.Name != m.name() || m.isLink() && h.Linkname != m.linkname() || m.isFile() && !m.isSparse() && h.Size != m.size {
		return nil, nil, fmt.Errorf("entry %q at byte %d: %w: Go's archive/tar reads it as %q", m.name(), m.header, ErrAmbiguous, h.Name)
	}
	return r, h, nil
}

func (a *Archive) header(m *member) (*tar.Header, error) {
	_, h, err := a.reader(m)
	return h, err
}
