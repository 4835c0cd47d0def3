package ext4sign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
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
	fits, needed := map[string]bool{}, need{}
	attach(t, before, path, func(n *filesystem.Node, values []signing.Value) bool {
		taken, err := before.takes(n.ID, values)
		if err != nil && !errors.Is(err, ErrRoom) {
			t.Fatal(err)
		}
		needed.add(taken)
		fits[n.Path] = err == nil
		return err == nil
	}, 0)
	after := opened(t, path)
	if used := before.FreeBlocks() - after.FreeBlocks(); used > needed.blocks || used == 0 {
		t.Errorf("debugfs took %d blocks, expected %d", used, needed.blocks)
	}
	if used := before.FreeInodes() - after.FreeInodes(); used != needed.inodes {
		t.Errorf("debugfs took %d inodes, expected %d", used, needed.inodes)
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
				check(t, r.add(0, &n, &record, m.Layout().Block))
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

// TestLargeValues has values that debugfs cuts off when it reads them from a file, in blocks
// of 1 KiB too, and those that are too long for a line.
func TestLargeValues(t *testing.T) {
	tree := t.TempDir()
	check(t, os.WriteFile(filepath.Join(tree, "file"), nil, 0o644))
	random := make([]byte, 6000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // all bytes occur in it
	for _, options := range []string{"-t ext4 -b 4096 -O ea_inode", "-t ext4 -b 1024 -O ea_inode", "-t ext4 -b 1024 -I 128 -O ea_inode"} {
		path := made(t, tree, options)
		m := opened(t, path)
		var id filesystem.ID
		for n, err := range filesystem.Walk(t.Context(), m, filesystem.Options{}) {
			check(t, err)
			if n.Path == "file" {
				id = n.ID
			}
		}
		record := signing.Record{Values: []signing.Value{
			{Form: ima.Form{Xattr: ima.XattrIMA}, Status: signing.Signed, Bytes: random[:4636]},
			{Form: ima.Form{Xattr: ima.XattrEVM}, Status: signing.Signed, Bytes: random},
		}}
		needed, err := m.takes(id, record.Changes())
		check(t, err)
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		check(t, err)
		check(t, (&Copy{}).inWorkshop(file, func(w *workshop) error {
			r := requests{workshop: w, names: make([]string, 1), files: make([]*bufio.Writer, 1)}
			check(t, r.add(0, &filesystem.Node{ID: id}, &record, m.Layout().Block))
			check(t, r.flush())
			said, err := w.debugfs(t.Context(), m, r.names[0])
			if len(said) > 0 {
				t.Errorf("debugfs says %q", said)
			}
			return errors.Join(err, w.recount(t.Context(), m), w.fsck(t.Context(), m))
		}))
		check(t, file.Close())
		after := opened(t, path)
		values, err := after.Xattrs(id)
		check(t, err)
		for _, v := range record.Values {
			if !bytes.Equal(values[v.Form.Xattr], v.Bytes) {
				t.Errorf("%s: %s has %d bytes, or others", options, v.Form.Xattr, len(values[v.Form.Xattr]))
			}
		}
		if used := (need{m.FreeBlocks() - after.FreeBlocks(), m.FreeInodes() - after.FreeInodes()}); used != needed {
			t.Errorf("%s: debugfs took %+v, expected %+v", options, used, needed)
		}
		record.Values[0].Bytes = make([]byte, 4000) // each byte needs four
		_, err = m.takes(id, record.Values)
		if cut := m.Layout().Block < 4000; cut != errors.Is(err, ErrRoom) || cut && !strings.Contains(err.Error(), "debugfs reads lines of 8191") {
			t.Errorf("%s: a line that is too long: %v", options, err)
		}
	}
}

func TestNotEnough(t *testing.T) {
	tree := t.TempDir()
	check(t, os.WriteFile(filepath.Join(tree, "file"), nil, 0o644))
	m := opened(t, made(t, tree, "-t ext4 -b 4096 -O ea_inode"))
	c := Copy{mounts: []mount{*m}}
	check(t, c.enough([]need{{m.FreeBlocks(), m.FreeInodes()}}))
	for _, test := range []struct {
		need need
		want string
	}{{need{m.FreeBlocks() + 1, 0}, "resize2fs"}, {need{0, m.FreeInodes() + 1}, fmt.Sprintf("mkfs.ext4 -N %d", m.Inodes()+1)}} {
		if err := c.enough([]need{test.need}); !errors.Is(err, ErrRoom) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.need, err, test.want)
		}
	}
}
