package fsverity_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/internal/fsverity"
)

// TestKnown has digests that fsverity-utils made, for runs without it.
func TestKnown(t *testing.T) {
	for _, c := range []struct {
		p       fsverity.Parameters
		content string
		want    string
	}{
		{fsverity.Parameters{Hash: crypto.SHA256, BlockSize: 4096}, "", "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"},
		{fsverity.Parameters{Hash: crypto.SHA256, BlockSize: 1024, Salt: []byte{0xaa, 0xbb, 0xcc, 0xdd}}, "", "91d0366ffc1b9fc3f9c88cbbe076f03dbd0e40c2ef8a56beb2f0a4cd29253514"},
		{fsverity.Parameters{Hash: crypto.SHA512, BlockSize: 4096}, "", "ccf9e5aea1c2a64efa2f2354a6024b90dffde6bbc017825045dce374474e13d10adb9dadcc6ca8e17a3c075fbd31336e8f266ae6fa93a6c3bed66f9e784e5abf"},
	} {
		if got := hex.EncodeToString(digest(t, c.p, []byte(c.content), len(c.content))); got != c.want {
			t.Errorf("%+v: %s, want %s", c.p, got, c.want)
		}
	}
}

func TestParameters(t *testing.T) {
	for _, p := range []fsverity.Parameters{
		{},
		{Hash: crypto.SHA384, BlockSize: 4096},
		{Hash: crypto.SHA256},
		{Hash: crypto.SHA256, BlockSize: -4096},
		{Hash: crypto.SHA256, BlockSize: 512},
		{Hash: crypto.SHA256, BlockSize: 4097},
		{Hash: crypto.SHA256, BlockSize: 131072},
		{Hash: crypto.SHA512, BlockSize: 4096, Salt: make([]byte, 33)},
	} {
		if _, err := fsverity.New(p); !errors.Is(err, fsverity.ErrParameters) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func digest(t testing.TB, p fsverity.Parameters, content []byte, part int) []byte {
	d, err := fsverity.New(p)
	if err != nil {
		t.Fatal(err)
	}
	write(d, content, part)
	return d.Sum(nil)
}

func write(d *fsverity.Digest, content []byte, part int) {
	for part > 0 && len(content) > part {
		_, _ = d.Write(content[:part])
		content = content[part:]
	}
	_, _ = d.Write(content)
}

// FuzzWrites compares the digests of the same content in one write, in single bytes and in
// parts, after another file.
func FuzzWrites(f *testing.F) {
	f.Add(uint32(0), uint16(1), []byte(nil), false)
	f.Add(uint32(1024), uint16(1000), []byte("salt"), true)
	f.Add(uint32(1024*32), uint16(1025), []byte(nil), false)
	f.Add(uint32(1024*16+1), uint16(4096), bytes.Repeat([]byte{1}, 32), true)
	f.Add(uint32(1024*32*32+5), uint16(5000), []byte("x"), false)
	f.Fuzz(func(t *testing.T, size uint32, part uint16, salt []byte, long bool) {
		p := fsverity.Parameters{Hash: crypto.SHA256, BlockSize: 1024, Salt: salt[:min(len(salt), fsverity.MaxSaltSize)]}
		if long {
			p.Hash = crypto.SHA512
		}
		content := make([]byte, size%(1<<21))
		for i := range content {
			content[i] = byte(i*7 + i>>9)
		}
		want := digest(t, p, content, 0)
		d, err := fsverity.New(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []int{1, int(part)} {
			write(d, content, part)
			if got := d.Sum(nil); !bytes.Equal(got, want) {
				t.Errorf("%d bytes in parts of %d: %x, in one %x", len(content), part, got, want)
			}
			d.Reset()
		}
	})
}

// BenchmarkDigest takes about as long as BenchmarkPlain.
func BenchmarkDigest(b *testing.B) {
	d, err := fsverity.New(fsverity.Parameters{Hash: crypto.SHA256, BlockSize: fsverity.DefaultBlockSize})
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 1<<20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		d.Reset()
		_, _ = d.Write(content)
		d.Sum(nil)
	}
}

func BenchmarkPlain(b *testing.B) {
	h, content := crypto.SHA256.New(), make([]byte, 1<<20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		h.Reset()
		_, _ = h.Write(content)
		h.Sum(nil)
	}
}
