package ext4sign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made makes an image of a directory.
func made(t testing.TB, tree, options string) string {
	t.Helper()
	harness.Tool(t, "mke2fs")
	path := filepath.Join(t.TempDir(), "image")
	check(t, errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 8<<20)))
	harness.Must(t, "mke2fs", append(strings.Fields(options), "-q", "-F", "-d", tree, path)...)
	return path
}

// opened opens the file system of an image.
func opened(t testing.TB, path string) *mount {
	t.Helper()
	img, err := image.Open(t.Context(), path, nil, image.Options{})
	check(t, err)
	t.Cleanup(func() { img.Close() })
	r, err := img.FileSystem(&img.Volumes()[0])
	check(t, err)
	return &mount{image.Mount{Volume: &img.Volumes()[0]}, r.(*ext4.FileSystem)}
}

// TestRoomIsWhatDebugfsFinds compares the rules of takes with what debugfs does: which values
// it attaches, and how many blocks that takes.
func TestRoomIsWhatDebugfsFinds(t *testing.T) {
	harness.Root(t)
	tree := t.TempDir()
	for i := range 150 { // of several xattrs and sizes; some have the value already
		path := filepath.Join(tree, fmt.Sprintf("f%03d", i))
		check(t, os.WriteFile(path, bytes.Repeat([]byte("x"), i), 0o644))
		for k, size := range []int{i * 7 % 151, i * i % 700}[:i%3%2+i%2] {
			check(t, unix.Setxattr(path, fmt.Sprintf("user.x%d", k), make([]byte, size), 0))
		}
		if i%4 == 0 {
			check(t, unix.Setxattr(path, ima.XattrIMA, bytes.Repeat([]byte{byte(i)}, i%5*60+1), 0))
		}
	}
	for _, options := range []string{
		"-t ext4 -b 1024", "-t ext4 -b 1024 -I 128", "-t ext4 -b 2048 -I 512", "-t ext4 -b 1024 -O inline_data", "-t ext4 -b 1024 -O ea_inode", "-t ext2 -b 1024 -I 256",
	} {
		t.Run(options, func(t *testing.T) { compareRoom(t, made(t, tree, options)) })
	}
}

func compareRoom(t *testing.T, path string) {
	before := opened(t, path)
	fits, blocks := map[string]bool{}, uint64(0)
	attach(t, before, path, func(n *filesystem.Node, values []signing.Value) bool {
		taken, err := before.takes(n.ID, values)
		if err != nil && !errors.Is(err, ErrRoom) {
			t.Fatal(err)
		}
		blocks += taken
		fits[n.Path] = err == nil
		return err == nil
	}, 0)
	after := opened(t, path)
	if used := before.FreeBlocks() - after.FreeBlocks(); used > blocks || used == 0 {
		t.Errorf("debugfs took %d blocks, expected %d", used, blocks)
	}
	lacking := 0
	for _, fit := range fits {
		if !fit {
			lacking++
		}
	}
	attach(t, before, path, func(n *filesystem.Node, _ []signing.Value) bool { return !fits[n.Path] }, lacking)
}

// attach attaches two values to the files for which want returns true, and checks that
// debugfs refuses at least one of them on so many files.
func attach(t *testing.T, m *mount, path string, want func(*filesystem.Node, []signing.Value) bool, lacking int) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer file.Close()
	check(t, (&Copy{}).inWorkshop(file, func(w *workshop) error {
		r := requests{workshop: w, names: make([]string, 1), files: make([]*bufio.Writer, 1)}
		i := 0
		for n, err := range filesystem.Walk(t.Context(), m, filesystem.Options{}) {
			check(t, err)
			i++
			record := signing.Record{Values: []signing.Value{
				{Form: ima.Form{Xattr: ima.XattrIMA}, Status: signing.Signed, Bytes: bytes.Repeat([]byte{7}, 40+i*11%600)},
				{Form: ima.Form{Xattr: ima.XattrEVM}, Status: signing.Signed, Bytes: bytes.Repeat([]byte{8}, 30+i*17%300)},
			}}
			if want(&n, record.Values) {
				check(t, r.add(0, &n, &record))
			}
		}
		check(t, r.flush())
		if r.names[0] == "" {
			return nil
		}
		said, err := w.debugfs(t.Context(), m, r.names[0])
		if len(said) < lacking || lacking == 0 && len(said) > 0 { // it may refuse both values
			t.Errorf("debugfs says %d things, want %d: %q", len(said), lacking, said)
		}
		return errors.Join(err, w.recount(t.Context(), m), w.fsck(t.Context(), m))
	}))
}

func TestValuesThatDebugfsCuts(t *testing.T) {
	tree := t.TempDir()
	check(t, os.WriteFile(filepath.Join(tree, "file"), nil, 0o644))
	path := made(t, tree, "-t ext4 -b 4096 -O ea_inode")
	m := opened(t, path)
	for n, err := range filesystem.Walk(t.Context(), m, filesystem.Options{}) {
		check(t, err)
		for size, want := range map[int]string{maxValue: "", maxValue + 1: "debugfs cuts values at 4096"} {
			_, err := m.takes(n.ID, []signing.Value{{Form: ima.Form{Xattr: ima.XattrIMA}, Status: signing.Signed, Bytes: make([]byte, size)}})
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
	c := Copy{mounts: []mount{*m}}
	check(t, c.enough([]uint64{m.FreeBlocks()}))
	if err := c.enough([]uint64{m.FreeBlocks() + 1}); !errors.Is(err, ErrRoom) || !strings.Contains(err.Error(), "resize2fs") {
		t.Errorf("too few blocks: %v", err)
	}
}
