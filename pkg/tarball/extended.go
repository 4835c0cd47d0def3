package tarball

import (
	"fmt"
	"slices"
)

// extension is a pax extended header and where it lies.
type extension struct {
	start, end int64 // in the archive
	block      block
	records    []record
}

// extend takes an extended header and its payload into the member.
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

// payload reads the content of the extended header b with what fills its last
// block, and leaves s after it.
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

// finishGlobal reads a global header. What would change the meaning of later
// entries in ways that programs disagree about is refused.
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
