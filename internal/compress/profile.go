package compress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/pipeline"
)

// Profile says what one kind of file takes of the table, and how it is written.
type Profile struct {
	formats   []Format // in the order in which texts name them
	stem      string   // what a name has before the suffix: ".tar"
	readAhead bool     // decompress on several cores, which takes megabytes a stream
	zeroEnd   bool     // zeros may stand behind compressed data
	kernel    bool     // write what the kernel reads
}

// Archives is the profile of tar archives: what GNU tar and bsdtar both take.
func Archives() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, stem: ".tar", readAhead: true, zeroEnd: true}
}

// Files is the profile of many files of any kind, most of them small.
func Files() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, zeroEnd: true}
}

// Packages is the profile of the payload of rpm packages, which are read alone.
func Packages() Profile { return Profile{formats: []Format{Gzip, Bzip2, XZ, Zstd, LZMA}} }

// Metadata is the profile of the metadata of rpm repositories, which are read alone.
func Metadata() Profile { return Profile{formats: []Format{Gzip, Bzip2, XZ, Zstd}} }

// Initramfs is the profile of archives that the kernel unpacks as it starts: one
// stream, xz with CRC32 and without a filter, lz4 in the legacy format (lz4 -l). That
// has no mark of its end: what is appended to such an archive needs four zero bytes
// before it.
func Initramfs() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, stem: ".cpio", kernel: true}
}

func (p Profile) rows() []row {
	return slices.DeleteFunc(table(), func(r row) bool { return !slices.Contains(p.formats, r.format) })
}

func (p Profile) row(f Format) (row, error) {
	for _, r := range p.rows() {
		if r.format == f {
			return r, nil
		}
	}
	return row{}, fmt.Errorf("%w: %q", ErrUnknown, f)
}

// Words returns what Parse takes.
func (p Profile) Words() []string {
	known := []string{string(None)}
	for _, f := range p.formats {
		known = append(known, string(f))
	}
	return known
}

// Parse returns the format that a word names. Any other word is ErrUnknown.
func (p Profile) Parse(word string) (Format, error) {
	known := p.Words()
	if slices.Contains(known, word) {
		return Format(word), nil
	}
	last := len(known) - 1
	return "", fmt.Errorf("%w: %q is not %s or %s", ErrUnknown, word, strings.Join(known[:last], ", "), known[last])
}

// ByName tells by a file's name how it is compressed; ok is false for a name that says
// nothing.
func (p Profile) ByName(name string) (f Format, ok bool) {
	for _, r := range p.rows() {
		if strings.HasSuffix(name, p.stem+r.suffix) {
			return r.format, true
		}
		if p.stem == ".tar" && slices.ContainsFunc(r.short, func(short string) bool { return strings.HasSuffix(name, short) }) {
			return r.format, true
		}
	}
	return None, p.stem != "" && strings.HasSuffix(name, p.stem)
}

// Recognise tells by the first bytes how they are compressed. It needs HeadSize of
// them, unless there are fewer.
func (p Profile) Recognise(head []byte) Format {
	for _, r := range p.rows() {
		if r.begins(head) {
			return r.format
		}
	}
	return None
}

// Open recognises the format of in and decompresses it. What is not compressed is
// returned as it is. stop, never nil, frees what decompressing takes.
func (p Profile) Open(in *bufio.Reader) (f Format, content io.Reader, stop func(), err error) {
	head, err := in.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return None, nil, nothing, err
	}
	f = p.Recognise(head)
	content, stop, err = p.Reader(in, f)
	return f, content, stop, err
}

// Reader returns the decompressed content of in. It fails with ErrMemory where that
// would take more than MaxWindow, with io.ErrUnexpectedEOF where the compressed data
// are cut short, and otherwise with what the decoder says. stop, never nil, frees what
// decompressing takes.
func (p Profile) Reader(in *bufio.Reader, f Format) (content io.Reader, stop func(), err error) {
	if f == None {
		return in, nothing, nil
	}
	r, err := p.row(f)
	if err != nil {
		return nil, nothing, err
	}
	content, stop, err = r.read(in, p)
	if err != nil {
		return nil, nothing, classified(err)
	}
	return &classifying{content}, stop, nil
}

// Writer returns a writer to w that is complete once it is closed; w stays open. After
// an error, and when ctx is cancelled, it is not to be closed: that would compress what
// nobody wants any more. The output depends on the input alone, not on jobs, the number
// of goroutines that work on it; zero stands for one a core.
func (p Profile) Writer(ctx context.Context, w io.Writer, f Format, jobs int) (io.WriteCloser, error) {
	if f == None {
		return nopCloser{w}, nil
	}
	r, err := p.row(f)
	switch {
	case err != nil:
		return nil, err
	case p.kernel && r.kernel != nil:
		return r.kernel(w)
	case !p.kernel && r.write != nil:
		return r.write(ctx, w, pipeline.Jobs(jobs))
	}
	return nil, fmt.Errorf("%w: %s is not written", ErrUnknown, f)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
