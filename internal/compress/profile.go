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

// Profile says which formats one kind of file accepts, and how they are written.
type Profile struct {
	formats   []Format // in the order in which texts name them
	stem      string   // part of a file name before the suffix: ".tar"
	readAhead bool     // decompress on several cores, which takes megabytes for each stream
	zeroEnd   bool     // zeros may follow compressed data
	kernel    bool     // write the subset that the kernel reads
}

// Archives is the profile of tar archives: the formats that GNU tar and bsdtar both read.
func Archives() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, stem: ".tar", readAhead: true, zeroEnd: true}
}

// Images is the profile of images of disks and file systems.
func Images() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, readAhead: true, zeroEnd: true}
}

// Files is the profile of many files of any kind, most of them small.
func Files() Profile {
	return Profile{formats: []Format{Gzip, Zstd, XZ, Bzip2, LZ4}, zeroEnd: true}
}

// Packages is the profile of the payload of rpm packages, which are only read.
func Packages() Profile { return Profile{formats: []Format{Gzip, Bzip2, XZ, Zstd, LZMA}} }

// Metadata is the profile of the metadata of rpm repositories, which is only read.
func Metadata() Profile { return Profile{formats: []Format{Gzip, Bzip2, XZ, Zstd}} }

// Initramfs is the profile of archives that the kernel unpacks when it starts: one
// stream, xz with CRC32 and without a filter, lz4 in the legacy format (lz4 -l). The
// legacy format has no end mark: an archive that is appended to it needs four zero bytes
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

// Words returns the words that Parse accepts.
func (p Profile) Words() []string {
	known := []string{string(None)}
	for _, f := range p.formats {
		known = append(known, string(f))
	}
	return known
}

// Parse returns the format that a word names. For other words it returns ErrUnknown.
func (p Profile) Parse(word string) (Format, error) {
	known := p.Words()
	if slices.Contains(known, word) {
		return Format(word), nil
	}
	last := len(known) - 1
	return "", fmt.Errorf("%w: %q is not %s or %s", ErrUnknown, word, strings.Join(known[:last], ", "), known[last])
}

// ByName returns the format that a file's name indicates. ok is false if the name
// indicates none.
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

// Recognise returns the format of a file that begins with head. It needs HeadSize bytes,
// or the whole file if that is shorter.
func (p Profile) Recognise(head []byte) Format {
	for _, r := range p.rows() {
		if r.begins(head) {
			return r.format
		}
	}
	return None
}

// Open recognises the format of in and decompresses it. Content that is not compressed is
// returned unchanged. stop, never nil, frees the resources of the decoder.
func (p Profile) Open(in *bufio.Reader) (f Format, content io.Reader, stop func(), err error) {
	head, err := in.Peek(HeadSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return None, nil, nothing, err
	}
	f = p.Recognise(head)
	content, stop, err = p.Reader(in, f)
	return f, content, stop, err
}

// Reader returns the decompressed content of in. Reading fails with ErrMemory if
// decompressing would take more than MaxWindow, with io.ErrUnexpectedEOF if the
// compressed data is cut short, and otherwise with the decoder's error. stop, never nil,
// frees the resources of the decoder.
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

// Writer returns a writer that compresses to w. Closing it completes the output and
// leaves w open. After an error, or when ctx is cancelled, do not close it: that would
// compress data that is no longer needed. The output depends only on the input, not on
// jobs. jobs is the number of goroutines; zero means one for each core.
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
