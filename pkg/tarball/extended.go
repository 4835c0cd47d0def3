package tarball

import (
	"fmt"
	"io"
	"path"
	"slices"
)

// extension is a pax extended header.
type extension struct {
	start, end int64 // its place in the archive, in bytes
	block      block
	records    []record
}

// extend adds an extended header and its payload to the member.
func (s *scanner) extend(m *member, at int64) error {
	payload, padding, err := s.payload(&m.block, at)
	if err != nil {
		return err
	}
	switch kind := m.block.typeflag(); kind {
	case typeLongName:
		m.longName, err = longName(payload, padding)
	case typeLongLink:
		m.longLink, err = longName(payload, padding)
	default:
		m.pax = &extension{start: at, end: s.offset, block: m.block}
		if m.pax.records, err = parseRecords(payload); err == nil {
			err = checkRecords(m.pax.records)
		}
		if kind == typePaxSolaris { // which archive/tar does not know
			m.block[156] = typePax
			m.block.sum()
		}
	}
	m.prefix = slices.Concat(m.prefix, m.block[:], payload, padding)
	return err
}

// payload reads the content of the extended header b, and the padding of its last block. It
// moves s.offset after them.
func (s *scanner) payload(b *block, at int64) (payload, padding []byte, err error) {
	size, err := b.size()
	if err != nil {
		return nil, nil, err
	}
	if size > maxExtension {
		return nil, nil, fmt.Errorf("%d bytes: %w (%d)", size, ErrTooLarge, maxExtension)
	}
	if s.offset = at + blockSize + padded(size); s.offset > s.stored {
		return nil, nil, fmt.Errorf("%w: it ends at byte %d", ErrTruncated, s.stored)
	}
	text := make([]byte, padded(size))
	if n, err := s.file.ReadAt(text, at+blockSize); n < len(text) {
		return nil, nil, fmt.Errorf("read: %w", err)
	}
	return text[:size:size], text[size:], nil
}

// finishGlobal reads a global header. It refuses records that change later entries only for
// some programs.
func (s *scanner) finishGlobal(m *member) error {
	if m.header != m.start {
		return fmt.Errorf("%w: a global header between an extended header and its entry", ErrAmbiguous)
	}
	payload, _, err := s.payload(&m.block, m.header)
	if err != nil {
		return err
	}
	records, err := parseRecords(payload)
	if err != nil {
		return err
	}
	m.end, s.uid, s.gid = s.offset, value(records, "uid"), value(records, "gid")
	return checkGlobal(records)
}

// write writes the extended header with other records, and returns the number of bytes
// written. If there are no records, it writes nothing.
func (x *extension) write(w io.Writer, records []record) (int64, error) {
	var text []byte
	for _, r := range records {
		text = append(text, r.raw...)
	}
	if len(text) == 0 {
		return 0, nil
	}
	if len(text) > maxExtension {
		return 0, fmt.Errorf("%d bytes of pax records: %w (%d)", len(text), ErrTooLarge, maxExtension)
	}
	b := x.block
	b.resize(int64(len(text)))
	text = append(text, make([]byte, padded(int64(len(text)))-int64(len(text)))...)
	if _, err := w.Write(b[:]); err != nil {
		return 0, err
	}
	n, err := w.Write(text)
	return int64(n) + blockSize, err
}

// newExtension makes the header block of an extended header for m. It has the name that
// archive/tar and GNU tar give it, for programs that do not support pax and extract it. It
// has no owner and no time.
func newExtension(m *member) block {
	var b block
	name := string(m.block[:100])
	for i := range len(name) {
		if name[i] == 0 {
			name = name[:i]
			break
		}
	}
	dir, base := path.Split(cleanPath(name))
	name = dir + "PaxHeaders.0/" + base
	copy(b[:100], name[:min(len(name), 100)])
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[136:], "00000000000\x00")
	b[156] = typePax
	copy(b[257:], "ustar\x0000")
	return b
}
