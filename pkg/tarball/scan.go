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

// Limits of what is held in memory for one entry. GNU tar has none; archive/tar
// has the first.
const (
	maxExtension = 1 << 20 // bytes of one extended header
	maxSparse    = 8 << 20 // bytes of sparse map after an old GNU header
)

// member is one entry of the archive with the extended headers before it. The
// offsets are of the decompressed archive.
type member struct {
	start   int64 // of the first of its blocks, an extended header if it has one
	header  int64 // of its header block
	content int64 // of its content
	size    int64 // of its content in the archive, which a sparse file's is not
	end     int64 // of its last block

	typeflag byte
	prefix   []byte // the blocks between start and header
	block    block
	pax      *extension // its pax extended header, nil for none
	uid, gid string     // of a global header; "" for none
}

// extension is a pax extended header and where it lies.
type extension struct {
	start, end int64 // in the archive
	block      block
	records    []record
}

// scanner reads an archive's headers and skips the contents. Hostile input costs
// it no more memory than the limits above.
type scanner struct {
	file   io.ReaderAt
	size   int64
	offset int64 // of the next block
	global []record

	window   []byte
	windowAt int64
}

func (a *Archive) scan() *scanner {
	return &scanner{file: a.file, size: a.size, window: make([]byte, 0, 16*blockSize)}
}

// next returns the next member, and io.EOF at the end of the archive, with
// s.offset where the zero blocks begin.
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
		case typePax, typePaxSolaris, typeLongName, typeLongLink, typeACLSolaris:
			if kind == typePaxSolaris {
				kind = typePax
			}
			if met[kind] {
				return nil, fmt.Errorf("%w: two extended headers of type %q at byte %d", ErrFormat, kind, at)
			}
			met[kind] = true
			if err := s.extend(m, at); err != nil {
				return nil, err
			}
			continue
		}
		if err := s.finish(m, at); err != nil {
			return nil, fmt.Errorf("entry at byte %d: %w", at, err)
		}
		return m, nil
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
	if !b.checksumHolds() {
		if offset == 0 {
			return false, fmt.Errorf("%w, nor compressed in a way known here", ErrFormat)
		}
		return false, fmt.Errorf("%w: at byte %d is no header (its checksum does not hold)", ErrFormat, offset)
	}
	return true, nil
}

// bytes returns n bytes at offset, valid until the next call.
func (s *scanner) bytes(offset int64, n int) ([]byte, error) {
	if offset+int64(n) > s.size {
		return nil, fmt.Errorf("%w: it ends at byte %d inside a header", ErrTruncated, s.size)
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

// extend takes an extended header and its payload into the member.
func (s *scanner) extend(m *member, at int64) error {
	payload, err := s.payload(&m.block, at)
	if err != nil {
		return fmt.Errorf("extended header at byte %d: %w", at, err)
	}
	kind := m.block.typeflag()
	if kind == typePax || kind == typePaxSolaris {
		records, err := parseRecords(payload)
		if err != nil {
			return fmt.Errorf("extended header at byte %d: %w", at, err)
		}
		m.pax = &extension{start: at, end: s.offset, block: m.block, records: records}
	}
	m.prefix = append(m.prefix, m.block[:]...)
	m.prefix = append(m.prefix, payload...)
	m.prefix = append(m.prefix, make([]byte, padded(int64(len(payload)))-int64(len(payload)))...)
	return nil
}

// payload reads the content of the extended header b, and leaves s after it.
func (s *scanner) payload(b *block, at int64) ([]byte, error) {
	size, err := b.size()
	if err != nil {
		return nil, err
	}
	if size > maxExtension {
		return nil, fmt.Errorf("%d bytes: %w (%d)", size, ErrTooLarge, maxExtension)
	}
	payload := make([]byte, min(size, s.size))
	if s.offset = at + blockSize + padded(size); s.offset > s.size {
		return nil, fmt.Errorf("%w: it ends at byte %d", ErrTruncated, s.size)
	}
	if n, err := s.file.ReadAt(payload, at+blockSize); n < len(payload) {
		return nil, fmt.Errorf("read: %w", err)
	}
	return payload, nil
}

// finish completes the member whose header block is at.
func (s *scanner) finish(m *member, at int64) (err error) {
	m.header, m.content, m.typeflag = at, at+blockSize, m.block.typeflag()
	if m.typeflag == typePaxGlobal {
		return s.finishGlobal(m)
	}
	if m.typeflag == typeSparse {
		if err := s.skipSparseMap(m); err != nil {
			return err
		}
	}
	if m.size, err = m.contentSize(); err != nil {
		return err
	}
	if m.size > math.MaxInt64-blockSize-m.content || m.content+padded(m.size) > s.size {
		return fmt.Errorf("%w: %d bytes of content from byte %d on, the archive has %d", ErrTruncated, m.size, m.content, s.size)
	}
	m.end = m.content + padded(m.size)
	m.uid, m.gid = value(s.global, "uid"), value(s.global, "gid")
	s.offset = m.end
	return nil
}

// finishGlobal reads a global header. What would change the meaning of later
// entries in ways that programs disagree about is refused.
func (s *scanner) finishGlobal(m *member) error {
	if m.header != m.start {
		return fmt.Errorf("%w: a global header between an extended header and its entry", ErrFormat)
	}
	payload, err := s.payload(&m.block, m.header)
	if err != nil {
		return err
	}
	records, err := parseRecords(payload)
	if err != nil {
		return err
	}
	for _, r := range records {
		switch _, isXattr := r.xattr(); {
		case isXattr, r.key() == "path", r.key() == "linkpath", r.key() == "size", r.isSparse():
			return fmt.Errorf("%w: a global header sets %q for all entries", ErrFormat, r.key())
		case r.key() == "uid", r.key() == "gid":
			s.global = append(s.global, r)
		}
	}
	if m.end = s.offset; len(s.global) > 1000 {
		return fmt.Errorf("%w: more than a thousand owners in global headers", ErrTooLarge)
	}
	return nil
}

// skipSparseMap moves the content's offset behind an old GNU sparse file's
// extension blocks.
func (s *scanner) skipSparseMap(m *member) error {
	if !m.block.isGNU() {
		return fmt.Errorf("%w: a sparse file in a form that is not GNU's", ErrFormat)
	}
	for extended := m.block[482] != 0; extended; m.content += blockSize {
		if m.content-m.header > maxSparse {
			return fmt.Errorf("sparse map: %w (%d bytes)", ErrTooLarge, maxSparse)
		}
		b, err := s.bytes(m.content, blockSize)
		if err != nil {
			return err
		}
		extended = b[504] != 0
	}
	return nil
}

// contentSize is how many bytes follow the header. Hard links have none, whatever
// their size field says, to GNU tar, archive/tar and Python alike; about other
// kinds of entry with a size the programs, and even listing and extracting,
// disagree.
func (m *member) contentSize() (int64, error) {
	if m.typeflag == typeLink {
		return 0, nil
	}
	size, err := m.block.size()
	if err != nil {
		return 0, err
	}
	if m.pax != nil {
		if text := value(m.pax.records, "size"); text != "" {
			if size, err = parseSize(text); err != nil {
				return 0, err
			}
		}
	}
	if size > 0 && typeSymlink <= m.typeflag && m.typeflag <= typeFIFO {
		return 0, fmt.Errorf("%w: an entry of type %q with content", ErrFormat, m.typeflag)
	}
	return size, nil
}

// isSparse reports whether the content in the archive is not the file's.
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

// reader returns archive/tar's view of the member alone, after its header.
func (a *Archive) reader(m *member) (*tar.Reader, *tar.Header, error) {
	text := slices.Concat(m.prefix, m.block[:])
	after := m.header + blockSize
	r := tar.NewReader(io.MultiReader(bytes.NewReader(text), io.NewSectionReader(a.file, after, m.end-after)))
	h, err := r.Next()
	if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
		return nil, nil, fmt.Errorf("entry at byte %d: %w: %w", m.header, ErrFormat, err)
	}
	return r, h, nil
}

func (a *Archive) header(m *member) (*tar.Header, error) {
	_, h, err := a.reader(m)
	return h, err
}
