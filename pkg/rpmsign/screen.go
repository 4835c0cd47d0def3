package rpmsign

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Headers of the entries in a payload: the "new ASCII" format of cpio(5), and rpm's own
// format for packages with files over 4 GiB, which has an index in place of a name
// (lib/cpio.cc).
const (
	newcMagic      = "070701"
	newcSize       = 110
	newcFileSize   = 54 // offset of the field
	newcNameSize   = 94
	indexedMagic   = "07070X"
	indexedSize    = 14
	indexedPadding = 2
	maxName        = 4096 + 2 // PATH_MAX, a leading "." and NUL
)

// screen checks every header of a cpio archive and passes the archive on to go-rpmutils.
// That package would trust the sizes and indexes in headers. It would also read the padding
// after rpm's own headers as content, so screen leaves it out.
type screen struct {
	in     io.Reader
	sizes  []int64 // by index
	ready  []byte  // passed on next
	length int64   // bytes of content that follow
	unpad  int     // bytes of padding after the content in the archive
	pad    []byte  // the padding that is passed on instead
	ended  bool
}

func (s *screen) Read(b []byte) (int, error) {
	for len(s.ready) == 0 && s.length == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if err := s.header(); err != nil {
			return 0, err
		}
	}
	if len(s.ready) > 0 {
		n := copy(b, s.ready)
		s.ready = s.ready[n:]
		return n, nil
	}
	if int64(len(b)) > s.length {
		b = b[:s.length]
	}
	n, err := s.in.Read(b)
	if s.length -= int64(n); s.length > 0 {
		return n, unexpected(err)
	}
	return n, s.finish()
}

// finish ends an entry. It replaces the padding by the one that go-rpmutils expects.
func (s *screen) finish() error {
	_, err := io.ReadFull(s.in, make([]byte, s.unpad))
	s.ready, s.pad, s.unpad = s.pad, nil, 0
	return unexpected(err)
}

func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // a reader's own
		return fmt.Errorf("%w: it ends in the middle of a file", ErrTruncated)
	}
	return err
}

// header reads, checks and passes on the header of the next entry.
func (s *screen) header() error {
	h := make([]byte, newcSize)
	if _, err := io.ReadFull(s.in, h[:indexedSize]); err != nil {
		return unexpected(err)
	}
	var err error
	switch {
	case bytes.HasPrefix(h, []byte(indexedMagic)):
		err = s.indexed(h[:indexedSize])
	case bytes.HasPrefix(h, []byte(newcMagic)):
		err = s.newc(h)
	default:
		err = fmt.Errorf("%w: an entry of the payload starts with %q", ErrMalformed, h[:6])
	}
	if err == nil && s.length == 0 {
		rest := s.ready
		err = s.finish()
		s.ready = append(rest, s.ready...)
	}
	return err
}

func (s *screen) indexed(h []byte) error {
	index, err := field(h, 6)
	if err != nil {
		return err
	}
	if index >= int64(len(s.sizes)) {
		return fmt.Errorf("%w: the payload has index %d, but the header has %d files", ErrMalformed, index, len(s.sizes))
	}
	if _, err := io.ReadFull(s.in, make([]byte, indexedPadding)); err != nil {
		return unexpected(err)
	}
	size := s.sizes[index]
	s.ready, s.length = h, size
	s.unpad, s.pad = padding(size), make([]byte, padding(indexedSize+size))
	return nil
}

func (s *screen) newc(h []byte) error {
	if _, err := io.ReadFull(s.in, h[indexedSize:]); err != nil {
		return unexpected(err)
	}
	for at := 6; at < newcSize; at += 8 {
		if _, err := field(h, at); err != nil {
			return err
		}
	}
	size, _ := field(h, newcFileSize)
	name, _ := field(h, newcNameSize)
	if name < 1 || name > maxName {
		return fmt.Errorf("%w: the payload has a file name of %d bytes", ErrMalformed, name)
	}
	// The name and its padding are passed on together with the header.
	text := make([]byte, int(name)+padding(newcSize+name))
	if _, err := io.ReadFull(s.in, text); err != nil {
		return unexpected(err)
	}
	if text[name-1] != 0 {
		return fmt.Errorf("%w: a file name in the payload does not end with NUL", ErrMalformed)
	}
	s.ended = string(text[:name-1]) == "TRAILER!!!"
	s.ready, s.length = slices.Concat(h, text), size
	s.unpad, s.pad = padding(size), make([]byte, padding(size))
	return nil
}

// padding returns how many bytes are missing from n to a multiple of four.
func padding(n int64) int { return int(-n & 3) }

// field reads eight hexadecimal digits. strconv alone would accept a sign.
func field(h []byte, at int) (int64, error) {
	text := h[at : at+8]
	if _, err := hex.DecodeString(string(text)); err != nil {
		return 0, fmt.Errorf("%w: %q is not a number in the header of a payload's entry", ErrMalformed, text)
	}
	return strconv.ParseInt(string(text), 16, 64)
}
