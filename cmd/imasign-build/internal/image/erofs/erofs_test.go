package erofs

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/stmode"
)

var _ filesystem.Reader = (*FileSystem)(nil)

// testImages returns the names of the images in testdata.
func testImages(t testing.TB) (names []string) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.erofs.zst")
	if err != nil || len(paths) < 14 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".erofs.zst"))
	}
	return names
}

// testImage returns an image in testdata.
func testImage(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".erofs.zst")
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if b, err = d.DecodeAll(b, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte) (*FileSystem, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// unixMode returns st_mode.
func unixMode(m fs.FileMode) uint32 {
	kinds := map[fs.FileMode]uint32{
		0: 0o100000, fs.ModeDir: 0o40000, fs.ModeSymlink: 0o120000, fs.ModeNamedPipe: 0o10000, fs.ModeSocket: 0o140000,
		fs.ModeDevice: 0o60000, fs.ModeDevice | fs.ModeCharDevice: 0o20000,
	}
	return kinds[m.Type()] | stmode.Permissions(m)
}

// list renders all files of a file system in the form of tree.txt.
func list(t testing.TB, r filesystem.Reader) (lines []string) {
	t.Helper()
	for n, err := range filesystem.Walk(t.Context(), r, filesystem.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		line, err := describe(r, n)
		if err != nil {
			t.Fatalf("%q: %v", n.Path, err)
		}
		lines = append(lines, line)
	}
	return lines
}

func describe(r filesystem.Reader, n filesystem.Node) (string, error) {
	xattrs, err := r.Xattrs(n.ID)
	if err != nil {
		return "", err
	}
	sum, size := "", int64(0)
	if n.Mode.IsRegular() {
		c, err := r.Open(n.ID)
		if err != nil {
			return "", err
		}
		defer c.Close()
		h := sha256.New()
		if size, err = io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(c, 0, n.Size)}, make([]byte, 10007)); err != nil {
			return "", err
		}
		sum = hex.EncodeToString(h.Sum(nil))
	}
	line := fmt.Sprintf("%q %06o %d:%d %d %s", n.Path, unixMode(n.Mode), n.UID, n.GID, size, sum)
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		line += fmt.Sprintf(" %s=%x", name, xattrs[name])
	}
	return line, nil
}

// tree returns the lines of tree.txt in the order of a walk.
func tree(t *testing.T) (lines []string) {
	t.Helper()
	f, err := os.Open("testdata/tree.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	path := func(line string) string {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatal(err)
		}
		p, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(path(a), path(b)) })
	return lines
}

// TestImages reads an image of each kind, all of one tree.
func TestImages(t *testing.T) {
	want := tree(t)
	for _, name := range testImages(t) {
		t.Run(name, func(t *testing.T) {
			f, err := open(testImage(t, name))
			if name == "48bit" {
				if !errors.Is(err, filesystem.ErrUnsupported) || !strings.Contains(err.Error(), "48bit") {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := list(t, f)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("line %d\ngot  %.200s\nwant %.200s", i, slices.Concat(got, []string{""})[i], slices.Concat(want, []string{""})[i])
				}
			}
		})
	}
}
