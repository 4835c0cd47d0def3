package squashfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// plainImage is an image whose metadata is not compressed, to be changed.
type plainImage struct {
	*FileSystem

	b []byte
}

// name returns the position of a name in a directory. Its entry begins 8 bytes before.
func (p *plainImage) name(name string) int { return bytes.LastIndex(p.b, []byte(name)) }

// inode returns the position of an inode. A block has two bytes before its content.
func (p *plainImage) inode(id filesystem.ID) int {
	return int(p.inodeTable) + int(id>>16) + 2 + int(id&0xffff)
}

// find returns the position of the inode with a name.
func (p *plainImage) find(t *testing.T, name string) int {
	t.Helper()
	for n, err := range filesystem.Walk(t.Context(), p, filesystem.Options{}) {
		must(t, err)
		if n.Path == name {
			return p.inode(n.ID)
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// TestKernelFindsOthers changes images so that a list of their files is as before, or
// harmless, but the kernel finds no file or another one by its name, or other xattrs.
func TestKernelFindsOthers(t *testing.T) {
	root := t.TempDir()
	for i := range 600 {
		put(t, filepath.Join(root, fmt.Sprintf("name-that-is-not-short-%04d", i)), "")
	}
	set(t, filepath.Join(root, "name-that-is-not-short-0001"), "user.hidden", []byte("x"))
	good := mksquashfs(t, root, "-noI -noX -noD -noF")
	const first, second, indexAt = "name-that-is-not-short-0001", "name-that-is-not-short-0002", 16 + 24
	for name, c := range map[string]struct {
		change func(p *plainImage)
		text   string
	}{
		"nothing": {func(*plainImage) {}, ""},
		"order": {func(p *plainImage) {
			a, b := p.name(first), p.name(second)
			copy(p.b[a:], second)
			copy(p.b[b:], first)
		}, "out of order"},
		"twice":            {func(p *plainImage) { copy(p.b[p.name(second):], first) }, "out of order"},
		"number in a name": {func(p *plainImage) { p.b[p.name(second)-6]++ }, "which is inode"},
		"number of two inodes": {func(p *plainImage) {
			p.b[p.find(t, second)+12]--
			p.b[p.name(second)-6]--
		}, "several inodes have the number"},
		"no number":      {func(p *plainImage) { clear(p.b[p.inode(p.Root())+12:][:4]) }, "number 0"},
		"index: offset":  {func(p *plainImage) { p.b[p.inode(p.Root())+indexAt]++ }, "the index of"},
		"index: block":   {func(p *plainImage) { p.b[p.inode(p.Root())+indexAt+4]++ }, "the index of"},
		"index: name":    {func(p *plainImage) { p.b[p.inode(p.Root())+indexAt+12]++ }, "the index of"},
		"index: behind":  {func(p *plainImage) { p.b[p.inode(p.Root())+indexAt+2] = 1 }, "lead to no header"},
		"type in a mode": {func(p *plainImage) { p.b[p.find(t, second)+3] |= 0x20 }, "mode 020644"},
		"hidden xattr":   {func(p *plainImage) { p.b[bytes.Index(p.b, []byte("hidden"))-3] = 2 }, "type 0x200"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(good)
			c.change(&plainImage{open(t, b), b})
			err := readAllOf(t, open(t, b))
			if c.text == "" && err != nil || c.text != "" && (!errors.Is(err, filesystem.ErrCorrupt) || !strings.Contains(err.Error(), c.text)) {
				t.Errorf("%v, want %q", err, c.text)
			}
		})
	}
	p := &plainImage{open(t, good), good}
	if n := binary.LittleEndian.Uint16(good[p.inode(p.Root())+16+16:]); n == 0 {
		t.Error("the directory has no indexes")
	}
}

func readAllOf(t *testing.T, f *FileSystem) error {
	t.Helper()
	for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
		if err == nil {
			_, err = f.Xattrs(n.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
