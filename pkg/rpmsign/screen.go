package rpmsign

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Headers of a payload's entries: the "new ASCII" format of cpio(5), and rpm's
// own for packages with files over 4 GiB, which names a file by its index
// (lib/cpio.cc).
const (
	newcMagic      = "070701"
	newcSize       = 110
	newcFileSize   = 54 // where the field starts
	newcNameSize   = 94
	indexedMagic   = "07070X"
	indexedSize    = 14
	indexedPadding = 2
	maxName        = 4096 + 2 // PATH_MAX, "." in front and NUL
)

// screen passes a cpio archive on to go-rpmutils, which would allocate what a
// header claims and index with what it holds, after checking every header. It
// also leaves out the padding behind rpm's own headers, which that package takes
// for content.
type screen struct {
	in     io.Reader
	sizes  []int64 // by index
	ready  []byte  // to be passed on next
	length int64   // bytes of content to follow
	unpad  int     // bytes of padding that follow them in the archive
	pad    []byte  // and the padding that is passed on instead
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

// finish ends an entry: its padding is replaced by the one that the reader of the
// passed bytes expects.
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
		return fmt.Errorf("%w: the payload has file %d of %d", ErrMalformed, index, len(s.sizes))
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
		return fmt.Errorf("%w: a file name of %d bytes in the payload", ErrMalformed, name)
	}
	// The name and its padding are passed on at once with the header.
	text := make([]byte, int(name)+padding(newcSize+name))
	if _, err := io.ReadFull(s.in, text); err != nil {
		return unexpected(err)
	}
	if text[name-1] != 0 {
		return fmt.Errorf("%w: a file name in the payload does not end", ErrMalformed)
	}
	s.ended = string(text[:name-1]) == "TRAILER!!!"
	s.ready, s.length = slices.Concat(h, text), size
	s.unpad, s.pad = padding(size), make([]byte, padding(size))
	return nil
}

// padding is what follows n bytes up to a multiple of four.
func padding(n int64) int { return int(-n & 3) }

// field reads eight hexadecimal digits; strconv alone would take a sign.
func field(h []byte, at int) (int64, error) {
	text := h[at : at+8]
	if _, err := hex.DecodeString(string(text)); err != nil {
		return 0, fmt.Errorf("%w: %q is not a number in the header of a payload's entry", ErrMalformed, text)
	}
	return strconv.ParseInt(string(text), 16, 64)
}
