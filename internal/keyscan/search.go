package keyscan

import (
	"bytes"
	"encoding/binary"
)

// pattern is a text that may begin a key. It has at least [window] bytes, or begins with
// [integer].
type pattern struct {
	text string
	kind string
	own  bool
	// judge returns where the key with text at data[at:] begins, and its size in bytes; 0
	// if there is no key. Up to [behind] bytes before at may be part of it.
	judge func(data []byte, at int) (start, size int)
}

// integer begins an INTEGER of one byte: the version of a key in DER.
const integer = "\x02\x01"

// window is how many bytes of each longer pattern are compared first.
const window = 7

// search finds many patterns at once (Wu and Manber, 1994): the last two bytes of a window
// tell how far away the next place is where a longer pattern may begin. Numbers have four
// bytes, and are found by the two that they have in common.
type search struct {
	shift   [1 << 16]uint8
	longer  map[uint32][]pattern // by the first four bytes
	numbers map[uint32]pattern
}

func newSearch(patterns []pattern) *search {
	s := &search{longer: map[uint32][]pattern{}, numbers: map[uint32]pattern{}}
	for i := range s.shift {
		s.shift[i] = window - 1
	}
	for _, p := range patterns {
		first := binary.LittleEndian.Uint32([]byte(p.text))
		if p.text[:2] == integer && len(p.text) == 4 {
			s.numbers[first] = p
			continue
		}
		for at := range window - 1 {
			pair := binary.LittleEndian.Uint16([]byte(p.text[at:]))
			s.shift[pair] = min(s.shift[pair], uint8(window-2-at))
		}
		s.longer[first] = append(s.longer[first], p)
	}
	return s
}

// each calls found for every pattern in data[from:to], in their order, until found returns
// false.
func (s *search) each(data []byte, from, to int, found func(at int, p *pattern) bool) {
	number := s.nextNumber(data, from, to)
	for at := s.nextLonger(data, from, to); at < to || number < to; {
		if number < at {
			p := s.numbers[binary.LittleEndian.Uint32(data[number:])]
			if !found(number, &p) {
				return
			}
			number = s.nextNumber(data, number+1, to)
			continue
		}
		list := s.longer[binary.LittleEndian.Uint32(data[at:])]
		for i := range list {
			if bytes.HasPrefix(data[at:], []byte(list[i].text)) && !found(at, &list[i]) {
				return
			}
		}
		at = s.nextLonger(data, at+1, to)
	}
}

// nextNumber returns the next place of a number, or to.
func (s *search) nextNumber(data []byte, from, to int) int {
	for at := from; at < to; at++ {
		next := bytes.Index(data[at:min(len(data), to+len(integer)-1)], []byte(integer))
		if next < 0 {
			return to
		}
		if at += next; at+4 > len(data) {
			return to
		}
		if _, known := s.numbers[binary.LittleEndian.Uint32(data[at:])]; known {
			return at
		}
	}
	return to
}

// nextLonger returns the next place where a longer pattern may begin, or to.
func (s *search) nextLonger(data []byte, from, to int) int {
	last := min(to, len(data)-window+1)
	for at := from; at < last; {
		skip := s.shift[binary.LittleEndian.Uint16(data[at+window-2:])]
		if skip > 0 {
			at += int(skip)
			continue
		}
		if _, known := s.longer[binary.LittleEndian.Uint32(data[at:])]; known {
			return at
		}
		at++
	}
	return to
}
