package inflate_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/inflate"
)

func compress(tb testing.TB, level int, plain []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// contents are data of all kinds: code, text, noise, runs, short distances, and nothing.
func contents(tb testing.TB) map[string][]byte {
	tb.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		tb.Fatal(err)
	}
	text, err := os.ReadFile("block.go")
	if err != nil {
		tb.Fatal(err)
	}
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	skewed := make([]byte, 100_000) // long codes for rare bytes
	for i, b := range noise {
		skewed[i] = b & (b >> 3) & (b << 2)
	}
	return map[string][]byte{
		"program": program[:256<<10], "text": text, "noise": noise, "zeros": make([]byte, 256<<10), "skewed": skewed,
		"pattern": bytes.Repeat([]byte("abcdefg"), 10_000), "nothing": {}, "one byte": {7},
	}
}

func TestDecode(t *testing.T) {
	var d inflate.Decoder
	for name, plain := range contents(t) {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.BestCompression} {
			t.Run(fmt.Sprintf("%s at %d", name, level), func(t *testing.T) {
				src := compress(t, level, plain)
				for _, behind := range [][]byte{nil, make([]byte, 40)} {
					dst := make([]byte, len(plain))
					n, used, err := d.Decode(dst, append(bytes.Clone(src), behind...))
					if err != nil || used != len(src) || !bytes.Equal(dst[:n], plain) {
						t.Fatalf("%d bytes of %d, %d used of %d, %v", n, len(plain), used, len(src), err)
					}
				}
			})
		}
	}
}

func TestPartOfTheData(t *testing.T) {
	var d inflate.Decoder
	for name, plain := range contents(t) {
		src := compress(t, flate.DefaultCompression, plain)
		for _, size := range []int{0, 1, 300, len(plain) / 2, len(plain) - 1} {
			if size < 0 || size >= len(plain) {
				continue
			}
			dst := make([]byte, size)
			if n, _, err := d.Decode(dst, src); !errors.Is(err, inflate.ErrFull) || n != size || !bytes.Equal(dst, plain[:size]) {
				t.Errorf("%s: %d bytes of %d: %v", name, n, size, err)
			}
		}
		for _, size := range []int{0, 1, len(src) / 2, len(src) - 1} {
			if _, _, err := d.Decode(make([]byte, len(plain)), src[:size]); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %d bytes of %d: %v", name, size, len(src), err)
			}
		}
	}
}

// FuzzDecode compares with package flate: what is decoded, and whether data is refused.
func FuzzDecode(f *testing.F) {
	for _, plain := range contents(f) {
		for _, level := range []int{flate.HuffmanOnly, flate.BestSpeed, flate.BestCompression} {
			f.Add(compress(f, level, plain[:min(len(plain), 3000)]))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		const limit = 1 << 16
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(src)), limit+1))
		dst := make([]byte, limit)
		n, used, err := new(inflate.Decoder).Decode(dst, src)
		switch {
		case len(want) > limit:
			if !errors.Is(err, inflate.ErrFull) || !bytes.Equal(dst, want[:limit]) {
				t.Fatalf("%d bytes, %v; want more than %d", n, err, limit)
			}
		case (err == nil) != (wantErr == nil) || used > len(src):
			t.Fatalf("%d bytes, %d used of %d, %v; want %d, %v", n, used, len(src), err, len(want), wantErr)
		case err == nil && !bytes.Equal(dst[:n], want):
			t.Fatalf("%d bytes of another content, want %d", n, len(want))
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	plain := contents(b)["program"][:128<<10]
	src, dst := compress(b, flate.BestCompression, plain), make([]byte, len(plain))
	b.Run("inflate", func(b *testing.B) {
		var d inflate.Decoder
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			if _, _, err := d.Decode(dst, src); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("flate", func(b *testing.B) {
		r := flate.NewReader(nil)
		b.SetBytes(int64(len(plain)))
		for b.Loop() {
			if err := r.(flate.Resetter).Reset(bytes.NewReader(src), nil); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(r, dst); err != nil {
				b.Fatal(err)
			}
		}
	})
}
