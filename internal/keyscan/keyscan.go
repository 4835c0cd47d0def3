// Package keyscan finds private keys in any content that goes to devices.
//
// Content is searched as a stream, in bounded memory, at every byte: a key may be a whole
// file, follow other data, or be part of a program, an archive or a file system image. The
// package finds
//
//   - PEM of any kind with PRIVATE KEY in its label (PKCS #1, PKCS #8, SEC 1, encrypted or
//     not, OpenSSH, TSS2, OpenPGP), also indented, commented out, on one line, in UTF-16, or
//     with escaped line breaks; the same encoded in base64; SSH2 and PuTTY keys;
//   - DER of PKCS #1, DSA, SEC 1, PKCS #8, encrypted PKCS #8, and PKCS #12 (DER or BER) with
//     keys or encrypted content, also in base64 or hexadecimal; Java's JKS and JCEKS key
//     entries, BKS;
//   - binary keys of OpenSSH and dropbear; OpenPGP secret keys, as packets at the beginning
//     of the content and as files of gpg-agent; keys of age, signify, minisign, BIND and
//     WireGuard; JSON Web Keys;
//   - the keys that a [Scanner] is given, in any of these formats, and as bare numbers in
//     either byte order, in hexadecimal, base64 or decimal.
//
// A program that reads a format contains its beginning as a string, so the rest of a key must
// follow. Test keys that are published with the sources of a program are not reported in a
// program. Encrypted content is not searched. Callers unpack compressed content, and read
// files.
package keyscan

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// Finding is a private key in some content.
type Finding struct {
	Kind   string // for a person: "PKCS #8 in DER"
	Offset int64  // of its first byte, in bytes from the beginning of the content
	Own    bool   // it is a key that the Scanner was given
}

// chunk is how many bytes are read at a time. reach is how many bytes after a place are read
// to judge it, more than any key has.
const (
	chunk  = 1 << 20
	reach  = 64 << 10
	behind = 256 // bytes before a place: heads of DER, the beginning of a JSON object
)

// maxFindings bounds the findings in one content. One is enough to refuse it.
const maxFindings = 100

// Scanner looks for private keys. The zero value is not usable; [New] makes one. It is
// safe for concurrent use.
type Scanner struct {
	search  *search
	own     []Own
	buffers sync.Pool
}

// New returns a Scanner that recognises the keys in own in any encoding.
func New(own ...Own) *Scanner {
	s := &Scanner{own: own}
	s.buffers.New = func() any { return new([chunk + reach + behind]byte) }
	patterns := formats()
	for i := range own {
		patterns = append(patterns, own[i].patterns()...)
	}
	s.search = newSearch(patterns)
	return s
}

// Scan returns the private keys in r in their order, at most about a hundred, and how many
// bytes it read.
func (s *Scanner) Scan(ctx context.Context, r io.Reader) ([]Finding, int64, error) {
	buffer := s.buffers.Get().(*[chunk + reach + behind]byte)
	defer s.buffers.Put(buffer)
	c := content{scanner: s}
	held := 0 // bytes in the buffer; the first c.from were judged before
	for {
		if ctx.Err() != nil {
			return c.found, c.base + int64(held), context.Cause(ctx)
		}
		n, err := io.ReadFull(r, buffer[held:])
		held += n
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return c.found, c.base + int64(held), err
		}
		to := held - reach
		if end {
			to = held
		}
		c.judge(buffer[:held], to)
		if end || len(c.found) >= maxFindings {
			return c.found, c.base + int64(held), nil
		}
		keep := to - behind
		held = copy(buffer[:], buffer[keep:held])
		c.base += int64(keep)
		c.from = behind
	}
}

// Holds reports whether data holds a private key.
func Holds(data []byte) bool {
	found, _, _ := New().Scan(context.Background(), bytes.NewReader(data)) // reading memory does not fail
	return len(found) > 0
}

// content is one stream under search.
type content struct {
	scanner *Scanner
	base    int64 // offset of the buffer's first byte
	from    int   // where in the buffer to continue
	beyond  int64 // offset of the end of the last finding; keys before it are part of it
	known   bool  // the last finding is a published key, which is not listed
	program bool  // it is an ELF file
	found   []Finding
}

// judge judges the places from c.from to the one before to.
func (c *content) judge(data []byte, to int) {
	if c.base == 0 && c.from == 0 {
		c.program = bytes.HasPrefix(data, []byte("\x7fELF"))
		if kind, size := wholeFile(data); kind != "" {
			c.add(data, 0, size, kind, false)
		}
	}
	c.scanner.search.each(data, c.from, to, func(at int, p *pattern) bool {
		if start, size := p.judge(data, at); size > 0 {
			c.add(data, start, size, p.kind, p.own)
		}
		return len(c.found) < maxFindings
	})
}

func (c *content) add(data []byte, start, size int, kind string, own bool) {
	size = min(size, reach)
	offset := c.base + int64(start)
	key := data[start:min(len(data), start+size)]
	own = own || c.isOwn(key)
	switch {
	case offset >= c.beyond:
		c.beyond = offset + int64(size)
		if c.known = c.program && !own && isPublished(key); c.known {
			return
		}
	case !c.known: // a part of the finding before
		last := &c.found[len(c.found)-1]
		last.Own = last.Own || own
		return
	case !own: // a part of a published key
		return
	}
	c.found = append(c.found, Finding{Kind: kind, Offset: offset, Own: own})
}

func (c *content) isOwn(key []byte) bool {
	for i := range c.scanner.own {
		if c.scanner.own[i].is(key) {
			return true
		}
	}
	return false
}
