package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/internal/compress"
)

// content is 3 MiB with a hole, which begins and ends with data.
func content() []byte {
	b := make([]byte, 3<<20)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b[:70_000])
	_, _ = r.Read(b[len(b)-1000:])
	return b
}

func compressed(t *testing.T, f compress.Format, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := compress.Images().Writer(context.Background(), &out, f, 1)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenUnpacks(t *testing.T) {
	want := content()
	for _, f := range []compress.Format{compress.None, compress.Gzip, compress.Zstd, compress.XZ, compress.Bzip2, compress.LZ4} {
		t.Run(string(f), func(t *testing.T) {
			data := compressed(t, f, want)
			from := map[string]struct {
				path  string
				stdin io.Reader
			}{"file": {file(t, data), nil}, "standard input": {"-", bytes.NewReader(data)}}
			for name, c := range from {
				i, err := Open(context.Background(), c.path, c.stdin, Options{UnpackLimit: int64(len(want))})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, err := io.ReadAll(io.NewSectionReader(i.file, 0, i.Size()))
				if err != nil || !bytes.Equal(got, want) || i.Compression() != f {
					t.Errorf("%s: %d bytes, %v, %s", name, len(got), err, i.Compression())
				}
				if f != compress.None && blocks(t, i.file) > 400 {
					t.Errorf("%s: the temporary file has no hole: %d blocks", name, blocks(t, i.file))
				}
				if err := i.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func blocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks
}

func TestOpenRefuses(t *testing.T) {
	gz := compressed(t, compress.Gzip, content())
	dir := t.TempDir()
	for name, c := range map[string]struct {
		path string
		want error
		text string
	}{
		"more than the limit": {file(t, gz), ErrUnpackLimit, "1048576 bytes"},
		"cut short":           {file(t, gz[:len(gz)/8]), io.ErrUnexpectedEOF, "gzip data is cut short"},
		"no file":             {filepath.Join(dir, "none"), os.ErrNotExist, "none: no such file"},
		"a directory":         {dir, syscall.EISDIR, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(context.Background(), c.path, nil, Options{UnpackLimit: 1 << 20})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Count(err.Error(), c.path) != 1 {
				t.Errorf("%v; want %v with %q", err, c.want, c.text)
			}
		})
	}
}

func TestChangedImage(t *testing.T) {
	path := file(t, content())
	i, err := Open(context.Background(), path, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := i.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := i.Unchanged(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}
