package rpmsign

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strings"

	"github.com/sassoftware/go-rpmutils/cpio"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
)

// checkFiles unpacks the payload as a stream and compares the digest of every file with the
// one in the main header. The error names the files that differ.
func (p *Package) checkFiles(ctx context.Context) error {
	c := newFileCheck(p.files)
	if err := p.unpack(ctx, c.sizes, c.next); err != nil {
		return err
	}
	err := c.result()
	if err == nil {
		p.doubles = c.doubles
	}
	return err
}

// unpack calls next for the entries of the payload until it is done. sizes has the bytes of
// content by file.
func (p *Package) unpack(ctx context.Context, sizes []int64, next func(*cpio.Reader) (done bool, err error)) error {
	if format := p.main.text(tagPayloadFormat); format != "" && format != "cpio" {
		return fmt.Errorf("%w: a payload of format %q cannot be unpacked", ErrMalformed, format)
	}
	content, closer, err := decompress(io.NewSectionReader(p.content, p.payload, p.size-p.payload))
	if err != nil {
		return fmt.Errorf("unpack the payload: %w", undecodable(unexpected(err)))
	}
	defer closer()
	reader := cpio.NewReaderWithSizes(&screen{in: bufio.NewReaderSize(&contextReader{ctx, content}, 64<<10), sizes: sizes}, sizes)
	for {
		if done, err := next(reader); err != nil || done {
			if err != nil {
				err = fmt.Errorf("unpack the payload: %w", err)
			}
			return err
		}
	}
}

// decompress recognises the compression by the first bytes of r, because not all packages
// name it. Its memory is bounded, also for hostile window sizes.
func decompress(r io.Reader) (content io.Reader, stop func(), err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if magic, _ := in.Peek(4); string(magic) == "0707" { // the next read returns any error again
		return in, func() {}, nil
	}
	format, content, stop, err := compress.Packages().Open(in)
	if err == nil && format == compress.None {
		magic, _ := in.Peek(compress.HeadSize)
		err = fmt.Errorf("%w: no known compression starts with %x", ErrMalformed, magic)
	}
	return content, stop, err
}

// contextReader reads from r until the context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // a reader takes no argument
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(b)
	return n, undecodable(err)
}

// undecodable marks an error of a decompressor about its input as ErrMalformed. Errors of
// reading the file stay as they are.
func undecodable(err error) error {
	var reading *fs.PathError
	if err == nil || err == io.EOF || errors.As(err, &reading) || errors.Is(err, ErrMalformed) { //nolint:errorlint // a reader's own
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, quote.Plain(err))
}

// fileCheck compares a payload's files with the header's digests.
type fileCheck struct {
	files  []file
	sizes  []int64 // by file: bytes of its content in the payload
	links  [][]int // by file that has content: the files that share it, including itself
	byName map[string]int
	met    []bool
	wrong  []string
	number int

	content *contentReader
	doubles map[string]bool // by digest of ambiguous size; see doubleUses
}

func newFileCheck(files []file) *fileCheck {
	c := &fileCheck{
		files: files, sizes: make([]int64, len(files)), links: make([][]int, len(files)), byName: make(map[string]int, len(files)),
		met: make([]bool, len(files)), content: newContentReader(), doubles: map[string]bool{},
	}
	groups := map[uint64][]int{}
	for i := range files {
		f := &files[i]
		c.byName[f.Path] = i
		switch {
		case f.Flags&fileGhost != 0:
		case f.Mode&fs.ModeSymlink != 0:
			c.sizes[i] = f.Size
		case !f.Mode.IsRegular():
		case f.Inode == 0:
			c.sizes[i], c.links[i] = f.Size, []int{i}
		default:
			groups[f.Inode] = append(groups[f.Inode], i)
		}
	}
	// Of the names of a hard link, rpm reads only the content of the last one.
	for _, group := range groups {
		last := group[len(group)-1]
		c.sizes[last], c.links[last] = files[last].Size, group
	}
	return c
}

// next reads one entry of the payload.
func (c *fileCheck) next(r *cpio.Reader) (done bool, err error) {
	h, err := r.Next()
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	i := h.Index()
	if !h.IsStripped() {
		var known bool
		name := cmp.Or(strings.TrimPrefix(strings.TrimPrefix(h.Filename(), "."), "/"), ".")
		if i, known = c.byName[name]; !known {
			return false, fmt.Errorf("%w: the payload has %q, but the header does not", ErrMalformed, name)
		}
	}
	if c.met[i] {
		return false, fmt.Errorf("%w: the payload has %s twice", ErrMalformed, c.files[i].Path)
	}
	c.met[i] = true
	// rpm uses only the size in the header. It skips ghosts, which some old versions packed.
	if size := h.Filesize64(); !h.IsStripped() && size != c.sizes[i] && c.files[i].Flags&fileGhost == 0 {
		return false, fmt.Errorf("%w: the payload has %d bytes of %s, not %d", ErrMalformed, size, c.files[i].Path, c.sizes[i])
	}
	return false, c.compare(r, i)
}

// compare compares the digest of an entry's content.
func (c *fileCheck) compare(r io.Reader, i int) error {
	var sum hash.Hash
	to := io.Discard
	if id, ok := c.files[i].Hash.CryptoHash(); ok && id.Available() {
		sum = id.New()
		to = sum
	}
	if err := c.content.read(r, to); err != nil {
		return err
	}
	if sum != nil && ima.AmbiguousSize(c.content.size) {
		c.doubles[string(sum.Sum(nil))] = c.content.double()
	}
	for _, name := range c.links[i] {
		f := &c.files[name]
		switch {
		case f.Size != c.files[i].Size:
			c.complain("%s has %d bytes, not %d", f.Path, c.files[i].Size, f.Size)
		case f.undigested():
			c.complain("%s has no digest in the header", f.Path)
		case f.Digest != nil && sum == nil:
			c.complain("%s: this program cannot compute %s", f.Path, f.Hash)
		case f.Digest != nil && !bytes.Equal(sum.Sum(nil), f.Digest):
			c.complain("%s has %s %x, not %x", f.Path, f.Hash, sum.Sum(nil), f.Digest)
		}
	}
	return nil
}

const maxComplaints = 20

func (c *fileCheck) complain(format string, args ...any) {
	if c.number++; len(c.wrong) < maxComplaints {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *fileCheck) result() error {
	for i := range c.files {
		if f := &c.files[i]; !c.met[i] && f.Flags&fileGhost == 0 {
			c.complain("%s is not in the payload", f.Path)
		}
	}
	if c.number == 0 {
		return nil
	}
	lines := c.wrong
	if c.number > len(lines) {
		lines = append(lines, fmt.Sprintf("… and %d more", c.number-len(lines)))
	}
	return quote.Below(fmt.Errorf("%w: %d files", ErrDigest, c.number), lines...)
}
