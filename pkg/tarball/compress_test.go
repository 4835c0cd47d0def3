package tarball

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var compressions = []Compression{None, Gzip, Zstd, XZ, Bzip2, LZ4}

// compressible is text of which a part repeats.
func compressible(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, size+64)
	for len(out) < size {
		word := byte('a' + r.IntN(26))
		out = append(out, bytes.Repeat([]byte{word}, 1+r.IntN(9))...)
	}
	return out[:size]
}

// TestSameBytesAtAnyJobs compresses more than one piece of every encoder.
func TestSameBytesAtAnyJobs(t *testing.T) {
	for _, c := range compressions {
		size := 9 << 20
		if c == XZ || c == Bzip2 {
			size = 200_000 // slow; TestPieces has more than one piece
		}
		text := compressible(size)
		var first []byte
		for _, jobs := range []int{1, 3} {
			out := compress(t, c, jobs, text)
			if first == nil {
				first = out
			}
			if !bytes.Equal(out, first) {
				t.Errorf("%s: other bytes with %d jobs", c, jobs)
			}
		}
		if c != None && len(first) > size/2 {
			t.Errorf("%s: %d bytes became %d", c, size, len(first))
		}
		if got := recognise(first); got != c {
			t.Errorf("%s is taken for %s", c, got)
		}
		a := &Archive{name: "test", opts: Options{UnpackLimit: int64(size)}}
		check(t, a.load(context.Background(), bytes.NewReader(first)))
		back, err := io.ReadAll(io.NewSectionReader(a.file, 0, a.size))
		check(t, err)
		if !bytes.Equal(back, text) {
			t.Errorf("%s: what comes out is not what went in", c)
		}
		check(t, a.Close())
		a = &Archive{name: "test", opts: Options{UnpackLimit: int64(size) - 1}}
		if err := a.load(context.Background(), bytes.NewReader(first)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: the limit: %v", c, err)
		}
		check(t, a.Close())
		testCut(t, c, first)
	}
}

func compress(t *testing.T, c Compression, jobs int, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := Compress(context.Background(), &out, c, jobs)
	check(t, err)
	for part := range slices.Chunk(text, 77_777) {
		_, err = z.Write(part)
		check(t, err)
	}
	check(t, z.Close())
	return out.Bytes()
}

// testCut holds that a compressed stream that ends early is an error.
func testCut(t *testing.T, c Compression, text []byte) {
	t.Helper()
	if c == None {
		return
	}
	for _, cut := range []int{7, 20, len(text) / 2, len(text) - 1} {
		a := &Archive{name: "test", opts: Options{UnpackLimit: 1 << 30}}
		err := a.load(context.Background(), bytes.NewReader(text[:cut]))
		if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCompression) {
			t.Errorf("%s cut at %d of %d: %v", c, cut, len(text), err)
		}
		check(t, a.Close())
	}
}

// TestPieces holds that xz and bzip2 files in several pieces are read as one.
func TestPieces(t *testing.T) {
	text := compressible(200_000)
	for c, encode := range map[Compression]func(io.Writer) (io.WriteCloser, error){XZ: encodeXZ, Bzip2: encodeBzip2} {
		var out bytes.Buffer
		z := newChunks(context.Background(), &out, 30_000, 3, encode)
		for part := range slices.Chunk(text, 77_777) {
			_, err := z.Write(part)
			check(t, err)
		}
		check(t, z.Close())
		content, stop, err := decompress(bufio.NewReader(&out), c)
		check(t, err)
		back, err := io.ReadAll(content)
		check(t, err)
		stop()
		if !bytes.Equal(back, text) {
			t.Errorf("%s: what comes out is not what went in", c)
		}
	}
}

func TestPiecesObeyTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	block := make(chan struct{})
	defer close(block)
	z := newChunks(ctx, io.Discard, 10, 1, func(w io.Writer) (io.WriteCloser, error) {
		<-block
		return nopCloser{w}, nil
	})
	cancel(errDisk)
	if _, err := z.Write(make([]byte, 100)); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}

func TestWriteErrorsArrive(t *testing.T) {
	for _, c := range compressions {
		text := compressible(3 << 20)
		if c == XZ || c == Bzip2 {
			text = text[:100_000]
		}
		z, err := Compress(context.Background(), failing{}, c, 2)
		check(t, err)
		_, err = z.Write(text)
		if err = errors.Join(err, z.Close()); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

var errDisk = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

func TestCompressionOf(t *testing.T) {
	for name, want := range map[string]Compression{
		"a.tar": None, "a.tar.gz": Gzip, "A.TGZ": Gzip, "x/a.tar.zst": Zstd, "a.txz": XZ, "a.tar.bz2": Bzip2, "a.tar.lz4": LZ4,
	} {
		if c, ok := CompressionOf(name); !ok || c != want {
			t.Errorf("%s: %s %v", name, c, ok)
		}
	}
	for _, name := range []string{"-", "layer", "tar", "a.gz.tar.x"} {
		if c, ok := CompressionOf(name); ok {
			t.Errorf("%s says %s", name, c)
		}
	}
	if _, err := ParseCompression("rar"); !errors.Is(err, ErrCompression) || !strings.Contains(err.Error(), "zstd") {
		t.Error(err)
	}
}
