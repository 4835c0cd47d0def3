package tarball

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// span is a part of a sparse file that has content.
type span struct{ offset, length int64 }

// sparseMap states where the content of a sparse file belongs. It is read from any of GNU's
// forms.
type sparseMap struct {
	spans  []span
	stored int64 // bytes of content in the archive, without the map
	size   int64 // of the file, in bytes
}

// check refuses maps that GNU tar, bsdtar and archive/tar read differently:
//   - spans out of order
//   - a span, except the last, that does not fill its blocks: for GNU tar each span begins
//     in a new block, for the others it follows the span before
//   - a map whose last span does not reach the end of the file: GNU tar ends the file there
func (m sparseMap) check() error {
	end, sum := int64(0), int64(0)
	for i, s := range m.spans {
		rest := m.spans[i+1:]
		isLast := len(rest) == 0 || len(rest) == 1 && rest[0].length == 0
		switch {
		case s.offset < end || s.length > m.size || s.offset > m.size-s.length:
			return errSparse("a span at %d of %d bytes", s.offset, s.length)
		case s.length%blockSize != 0 && !isLast, s.length == 0 && len(rest) > 0:
			return errSparse("a span of %d bytes before others", s.length)
		}
		end = s.offset + s.length
		if sum += s.length; sum > m.stored {
			break
		}
	}
	if len(m.spans) == 0 || end != m.size || sum != m.stored {
		return errSparse("%d spans up to byte %d of %d, with %d bytes of content in place of %d", len(m.spans), end, m.size, m.stored, sum)
	}
	return nil
}

func errSparse(format string, args ...any) error {
	return fmt.Errorf("%w: sparse map: %s", ErrAmbiguous, fmt.Sprintf(format, args...))
}

// oldMap reads the map of an old GNU sparse file. It is in the header block and may continue
// in blocks after it. oldMap moves m.content after these blocks.
func (s *scanner) oldMap(m *member) (sm sparseMap, err error) {
	if !m.block.isGNU() {
		return sm, fmt.Errorf("%w: a sparse file in a form that is not GNU's", ErrAmbiguous)
	}
	if sm.size, err = number(m.block[483:495]); err != nil {
		return sm, errSparse("size %q", m.block[483:495])
	}
	fields, flag := m.block[386:482], m.block[482]
	for {
		if err := sm.add(fields, flag != 0); err != nil {
			return sm, err
		}
		if flag == 0 {
			return sm, nil
		}
		if m.content-m.header > maxSparse {
			return sm, fmt.Errorf("sparse map: %w (%d bytes)", ErrTooLarge, maxSparse)
		}
		b, err := s.bytes(m.content, blockSize)
		if err != nil {
			return sm, err
		}
		m.content += blockSize
		fields, flag = b[:504], b[504]
	}
}

// add adds the spans of a block. full says that the map continues in another block, so that
// all fields of this one are used.
func (m *sparseMap) add(fields []byte, full bool) error {
	ended := false
	for pair := range slices.Chunk(fields, 24) {
		if isZero(pair) && !full {
			ended = true
			continue
		}
		offset, err := number(pair[:12])
		length, err2 := number(pair[12:])
		if errors.Join(err, err2) != nil || offset < 0 || length < 0 || ended || pair[0] == 0 || pair[12] == 0 {
			return errSparse("%q", pair)
		}
		m.spans = append(m.spans, span{offset, length})
	}
	return nil
}

// paxMap reads the map of a sparse file in one of GNU's pax forms. Forms 0.0 and 0.1 have
// the map in records, form 1.0 has it before the content.
func (s *scanner) paxMap(m *member) (sm sparseMap, err error) {
	var keys []string
	var texts []string
	for _, r := range m.pax.records {
		if key, ok := strings.CutPrefix(r.key(), "GNU.sparse."); ok {
			keys, texts = append(keys, key), append(texts, string(r.value()))
		}
	}
	form := slices.Clone(keys)
	slices.Sort(form)
	sm.stored = m.size
	var size string
	switch strings.Join(slices.Compact(form), " ") {
	case "major minor name realsize":
		size = value(m.pax.records, "GNU.sparse.realsize")
		if value(m.pax.records, "GNU.sparse.major")+"."+value(m.pax.records, "GNU.sparse.minor") != "1.0" {
			return sm, errSparse("unknown version")
		}
		err = s.contentMap(m, &sm)
		// bsdtar's map of a file that is only a hole begins with a span of 0 bytes at 0.
		if len(sm.spans) == 2 && sm.spans[0] == (span{}) && sm.spans[1].length == 0 {
			sm.spans = sm.spans[1:]
		}
	case "map name numblocks size", "numblocks numbytes offset size":
		size = value(m.pax.records, "GNU.sparse.size")
		err = sm.fromRecords(keys, texts)
	default:
		return sm, errSparse("unknown form with the keys %q", keys)
	}
	if err != nil {
		return sm, err
	}
	if sm.size, err = decimal(size, 63); err != nil {
		return sm, errSparse("size %.40q", size)
	}
	return sm, nil
}

// fromRecords reads forms 0.0 and 0.1, in which the number of spans comes first.
func (m *sparseMap) fromRecords(keys, texts []string) error {
	var numbers []string
	blocks := ""
	for i, key := range keys {
		switch key {
		case "numblocks":
			blocks = texts[i]
		case "map":
			numbers = strings.Split(texts[i], ",")
		case "offset", "numbytes":
			if (len(numbers)%2 == 0) != (key == "offset") {
				return errSparse("%s out of order", key)
			}
			numbers = append(numbers, texts[i])
		}
		if blocks == "" && len(numbers) > 0 {
			return errSparse("the number of spans does not come first")
		}
	}
	n, err := decimal(blocks, 31)
	if err != nil || len(numbers) != int(2*n) {
		return errSparse("%d numbers for %.40q spans", len(numbers), blocks)
	}
	return m.addPairs(numbers)
}

func (m *sparseMap) addPairs(numbers []string) error {
	for pair := range slices.Chunk(numbers, 2) {
		offset, err := decimal(pair[0], 63)
		length, err2 := decimal(pair[1], 63)
		if errors.Join(err, err2) != nil {
			return errSparse("%.40q", pair)
		}
		m.spans = append(m.spans, span{offset, length})
	}
	return nil
}

// contentMap reads form 1.0: lines of decimal numbers, filled up to a block. The first
// number is the number of spans.
func (s *scanner) contentMap(m *member, sm *sparseMap) error {
	text, lines := []byte(nil), []string(nil)
	wanted := int64(1)
	for at := int64(0); ; at += blockSize {
		for int64(len(lines)) < wanted {
			line, rest, whole := bytes.Cut(text, []byte{'\n'})
			if !whole {
				break
			}
			lines, text = append(lines, string(line)), rest
			if n, err := decimal(lines[0], 31); err != nil {
				return errSparse("%.40q spans", lines[0])
			} else {
				wanted = 1 + 2*n
			}
		}
		if int64(len(lines)) == wanted {
			sm.stored -= at
			return sm.addPairs(lines[1:])
		}
		if at+blockSize > m.size || at > maxExtension || len(text) > 100 {
			return errSparse("%d of %d numbers", len(lines), wanted)
		}
		block := make([]byte, blockSize)
		if _, err := s.file.ReadAt(block, m.content+at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text = append(text, block...)
	}
}
