package compress

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

var written = []Format{None, Gzip, Zstd, XZ, Bzip2, LZ4}

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
	for _, f := range written {
		size := 3 << 20 // blocks of 1 MiB at most
		switch f {
		case LZ4:
			size = 9 << 20 // blocks of 4 MiB
		case XZ, Bzip2:
			size = 200_000 // slow; TestPieces has more than one piece
		}
		text := compressible(size)
		first := compress(t, Archives(), f, 1, text)
		if !bytes.Equal(compress(t, Archives(), f, 3, text), first) {
			t.Errorf("%s: other bytes with other jobs", f)
		}
		if f != None && len(first) > size/2 {
			t.Errorf("%s: %d bytes became %d", f, size, len(first))
		}
		if _, back, err := open(Archives(), first); err != nil || !bytes.Equal(back, text) {
			t.Errorf("%s: what comes out is not what went in: %v", f, err)
		}
	}
}

func TestProfiles(t *testing.T) {
	text := compressible(100_000)
	for _, f := range written {
		packed := compress(t, Archives(), f, 1, text)
		for name, p := range map[string]Profile{"archives": Archives(), "files": Files(), "packages": Packages(), "metadata": Metadata()} {
			if f == LZ4 && (name == "packages" || name == "metadata") {
				if got := p.Recognise(packed); got != None {
					t.Errorf("%s: lz4 is taken for %s", name, got)
				}
				continue
			}
			got, back, err := open(p, packed)
			if got != f || err != nil || !bytes.Equal(back, text) {
				t.Errorf("%s: %s is taken for %s, or what comes out is not what went in: %v", name, f, got, err)
			}
			if f != None {
				testCut(t, p, packed)
			}
		}
	}
}

func compress(t *testing.T, p Profile, f Format, jobs int, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := p.Writer(context.Background(), &out, f, jobs)
	check(t, err)
	for part := range slices.Chunk(text, 77_777) {
		_, err = z.Write(part)
		check(t, err)
	}
	check(t, z.Close())
	return out.Bytes()
}

func open(p Profile, text []byte) (Format, []byte, error) {
	f, content, stop, err := p.Open(bufio.NewReader(bytes.NewReader(text)))
	if err != nil {
		return f, nil, err
	}
	defer stop()
	back, err := io.ReadAll(content)
	return f, back, err
}

// testCut checks that compressed data that ends early is reported as cut short.
func testCut(t *testing.T, p Profile, text []byte) {
	t.Helper()
	for _, cut := range []int{7, 20, len(text) / 2, len(text) - 1} {
		if f, _, err := open(p, text[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s cut at %d of %d: %v", f, cut, len(text), err)
		}
	}
}

// TestKernel compares what is written for the kernel with what its decompressors read
// (lib/decompress_*.c): xz with CRC32, lz4 in the legacy format.
func TestKernel(t *testing.T) {
	text := compressible(200_000)
	for f, begins := range map[Format]string{
		None: string(text[:4]), Gzip: "\x1f\x8b\x08", Zstd: "\x28\xb5\x2f\xfd", XZ: "\xfd7zXZ\x00\x00\x01", Bzip2: "BZh9", LZ4: "\x02\x21\x4c\x18",
	} {
		out := compress(t, Initramfs(), f, 0, text)
		if !bytes.HasPrefix(out, []byte(begins)) {
			t.Errorf("%s begins with %x", f, out[:8])
		}
		if f == LZ4 { // only the kernel recognises it
			continue
		}
		if got, back, err := open(Initramfs(), out); got != f || err != nil || !bytes.Equal(back, text) {
			t.Errorf("%s is taken for %s, or what comes out is not what went in: %v", f, got, err)
		}
	}
}

// TestMemory checks that no stream makes a decoder use more memory than MaxWindow.
func TestMemory(t *testing.T) {
	zeros := make([]byte, 40)
	for name, stream := range map[string]string{
		"zstd": "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00" + string(zeros), // 256 MiB: RFC 8878, section 3.1.1.1.2
		"lzma": "\x5d\x00\x00\x00\x40" + strings.Repeat("\xff", 8) + string(zeros),
	} {
		if f, _, err := open(Packages(), []byte(stream)); f != Format(name) || !errors.Is(err, ErrMemory) {
			t.Errorf("%s: %s: %v", name, f, err)
		}
	}
}

func TestWhatIsNotTaken(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "text": "BZh1 is not enough", "short": "\x1f", "lzma": "\x5d\x00\x00\x00\x01" + strings.Repeat("\xff", 8)} {
		if f := Archives().Recognise([]byte(text)); f != None {
			t.Errorf("%s is taken for %s", name, f)
		}
	}
	for _, f := range []Format{"rar", "", LZMA} {
		for _, p := range []Profile{Archives(), Initramfs(), Packages()} {
			if _, err := p.Writer(t.Context(), io.Discard, f, 1); !errors.Is(err, ErrUnknown) {
				t.Errorf("%q is written: %v", f, err)
			}
		}
	}
	if _, _, err := Archives().Reader(bufio.NewReader(strings.NewReader("")), LZMA); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	behind := append(compress(t, Archives(), Zstd, 1, []byte("text")), "behind"...)
	if _, _, err := open(Archives(), behind); !errors.Is(err, errBehindZstd) {
		t.Error(err)
	}
}

// TestPieces checks that xz and bzip2 files in several pieces are read as one.
func TestPieces(t *testing.T) {
	text := compressible(200_000)
	for c, encode := range map[Format]func(io.Writer) (io.WriteCloser, error){XZ: encodeXZ, Bzip2: encodeBzip2} {
		var out bytes.Buffer
		z := newChunks(context.Background(), &out, 30_000, 3, encode)
		for part := range slices.Chunk(text, 77_777) {
			_, err := z.Write(part)
			check(t, err)
		}
		check(t, z.Close())
		content, stop, err := Archives().Reader(bufio.NewReader(&out), c)
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
	for _, p := range []Profile{Archives(), Initramfs()} {
		for _, f := range written {
			text := compressible(3 << 20)
			if f == XZ || f == Bzip2 || p.kernel { // slow
				text = text[:100_000]
			}
			z, err := p.Writer(context.Background(), failing{}, f, 2)
			if err == nil {
				_, err = z.Write(text)
				err = errors.Join(err, z.Close())
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("%s: %v", f, err)
			}
		}
	}
}

var errDisk = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errDisk }

func TestNames(t *testing.T) {
	for name, want := range map[string]Format{
		"a.tar": None, "a.tar.gz": Gzip, "a.tgz": Gzip, "x/a.tar.zst": Zstd, "a.tar.zstd": Zstd, "a.txz": XZ, "a.tar.bz2": Bzip2, "a.tbz": Bzip2, "a.tar.lz4": LZ4,
	} {
		if f, ok := Archives().ByName(name); !ok || f != want {
			t.Errorf("%s: %s %v", name, f, ok)
		}
	}
	for _, name := range []string{"-", "layer", "tar", "a.gz", "a.gz.tar.x", "a.tar.lzma"} {
		if f, ok := Archives().ByName(name); ok {
			t.Errorf("%s says %s", name, f)
		}
	}
	for name, want := range map[string]Format{"a.cpio": None, "a.cpio.gz": Gzip, "a.cpio.xz": XZ, "a.cpio.lz4": LZ4, "a.tgz": "", "a.cpio.zstd": "", "a.gz": ""} {
		if f, ok := Initramfs().ByName(name); ok != (want != "") || ok && f != want {
			t.Errorf("%s: %s %v", name, f, ok)
		}
	}
	for name, want := range map[string]Format{"x-primary.xml.gz": Gzip, "x.sqlite.bz2": Bzip2, "x.zst": Zstd, "x.xml": "", "x.lz4": ""} {
		if f, ok := Metadata().ByName(name); ok != (want != "") || ok && f != want {
			t.Errorf("%s: %s %v", name, f, ok)
		}
	}
}

func TestParse(t *testing.T) {
	for _, f := range written {
		if got, err := Archives().Parse(string(f)); got != f || err != nil {
			t.Errorf("%s: %s %v", f, got, err)
		}
	}
	for _, word := range []string{"rar", "", "lzma"} {
		if _, err := Archives().Parse(word); !errors.Is(err, ErrUnknown) || !strings.HasSuffix(err.Error(), "none, gzip, zstd, xz, bzip2 or lz4") {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
