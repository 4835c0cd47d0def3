package tarball

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/imasign/imasign-build/internal/compress"
)

// TestLoadDecompresses checks that archives are read completely and up to the limit, and
// that an archive that ends early is an error.
func TestLoadDecompresses(t *testing.T) {
	text := make([]byte, 200_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = byte('a' + r.IntN(4))
	}
	for _, c := range []compress.Format{compress.None, compress.Gzip, compress.Zstd, compress.XZ, compress.Bzip2, compress.LZ4} {
		var packed bytes.Buffer
		z, err := compress.Archives().Writer(t.Context(), &packed, c, 1)
		check(t, err)
		_, err = z.Write(text)
		check(t, errors.Join(err, z.Close()))

		a := &Archive{name: "test", opts: Options{UnpackLimit: int64(len(text))}}
		check(t, a.load(t.Context(), bytes.NewReader(packed.Bytes())))
		back, err := io.ReadAll(io.NewSectionReader(a.file, 0, a.size))
		check(t, err)
		if !bytes.Equal(back, text) || a.Compression() != string(c) {
			t.Errorf("%s is recognised as %s, or the content differs", c, a.Compression())
		}
		check(t, a.Close())
		a = &Archive{name: "test", opts: Options{UnpackLimit: int64(len(text)) - 1}}
		if err := a.load(t.Context(), bytes.NewReader(packed.Bytes())); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: the limit: %v", c, err)
		}
		check(t, a.Close())
		if c != compress.None {
			testCut(t, c, packed.Bytes())
		}
	}
}

func testCut(t *testing.T, c compress.Format, text []byte) {
	t.Helper()
	for _, cut := range []int{7, 20, len(text) / 2, len(text) - 1} {
		a := &Archive{name: "test", opts: Options{UnpackLimit: 1 << 30}}
		err := a.load(t.Context(), bytes.NewReader(text[:cut]))
		if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCompression) {
			t.Errorf("%s cut at %d of %d: %v", c, cut, len(text), err)
		}
		check(t, a.Close())
	}
}

// TestLoadRefusesWindows checks that input that needs too much memory to decompress is
// refused.
func TestLoadRefusesWindows(t *testing.T) {
	// A frame header with a window of 256 MiB: RFC 8878, section 3.1.1.1.2.
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 1, 0, 0}, make([]byte, 600)...)
	a := &Archive{name: "test", opts: Options{UnpackLimit: 1 << 30}}
	if err := a.load(t.Context(), bytes.NewReader(zstd)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	check(t, a.Close())
}
