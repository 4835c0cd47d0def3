package compress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// Zeros behind compressed data. bsdtar pads its output to a pipe with zeros. bsdtar, and
// the decompressors that GNU tar runs, accept them for gzip and bzip2; bsdtar also for
// lz4. The xz format allows them. No program accepts them for zstd.

var errBehind = errors.New("more than zeros behind the compressed data")

// gzipMember has the methods of both gzip decoders.
type gzipMember interface {
	io.Reader
	Reset(r io.Reader) error
	Multistream(ok bool)
}

// gzipReader reads gzip's members one after the other.
type gzipReader struct {
	gzipMember
	in *bufio.Reader
}

// members reads the members that follow the first one as well.
func (p Profile) members(first gzipMember, in *bufio.Reader) io.Reader {
	if !p.zeroEnd {
		return first
	}
	first.Multistream(false)
	return &gzipReader{first, in}
}

func (g *gzipReader) Read(b []byte) (int, error) {
	n, err := g.gzipMember.Read(b)
	if !errors.Is(err, io.EOF) || n > 0 {
		return n, ignoreEnd(err)
	}
	magic, err := g.in.Peek(2)
	if string(magic) != gzipMagic {
		return 0, zerosToEnd(g.in, err)
	}
	if err := g.Reset(g.in); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	g.Multistream(false)
	return 0, nil
}

// ignoreEnd hides the end of the data, which the next Read reports.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// zerosToEnd reads to the end and returns io.EOF if it finds only zeros.
func zerosToEnd(r io.Reader, err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		if len(bytes.TrimLeft(buf[:n], "\x00")) > 0 {
			return errBehind
		}
		if err != nil {
			return err
		}
	}
}

// input counts the zeros that a decoder read last.
type input struct {
	*bufio.Reader
	zeros int
	spare int // zeros to append if the data ends in a zero
}

func (i *input) ReadByte() (byte, error) {
	c, err := i.Reader.ReadByte()
	switch {
	case errors.Is(err, io.EOF) && i.zeros > 0 && i.spare > 0:
		i.spare--
		c, err = 0, nil
	case err != nil:
		return 0, err
	}
	if i.zeros++; c != 0 {
		i.zeros = 0
	}
	return c, err
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.Reader.Read(b)
	if rest := bytes.TrimRight(b[:n], "\x00"); len(rest) > 0 {
		i.zeros = -len(rest)
	}
	i.zeros += n
	return n, err
}

// zeroEnd accepts zeros behind compressed data as its end. isEnd recognises the error of
// a decoder that looked for more data and found zeros.
type zeroEnd struct {
	io.Reader
	in    *input
	isEnd func(error, int) bool
}

func (z *zeroEnd) Read(b []byte) (int, error) {
	n, err := z.Reader.Read(b)
	if err != nil && z.isEnd(err, z.in.zeros) {
		err = zerosToEnd(z.in, nil)
	}
	return n, err
}

// isBzip2End reports whether bzip2 found zeros in the two bytes where it looks for another
// stream.
func isBzip2End(err error, zeros int) bool {
	return errors.Is(err, bzip2.StructuralError("bad magic value in continuation file")) && zeros >= 2
}

// isLZ4End reports whether lz4 found zeros in the four bytes where it looks for another
// frame.
func isLZ4End(err error, zeros int) bool { return errors.Is(err, lz4.ErrInvalidFrame) && zeros >= 4 }
