package initramfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
)

func standalone(t testing.TB) *initramfs.Bundle {
	t.Helper()
	b, err := initramfs.New(initramfs.Options{Hook: initramfs.Standalone, ShellElsewhere: true, Certificates: []initramfs.Input{der("leaf.crt", newAuthority(t).signer("leaf"))}})
	check(t, err)
	return b
}

// TestCPIO: every entry is root's, has an inode number of its own, and stands behind
// its directory.
func TestCPIO(t *testing.T) {
	b := standalone(t)
	b.Files = append(b.Files, initramfs.File{Path: "link", Mode: fs.ModeSymlink | 0o777, Data: []byte("init")})
	var out bytes.Buffer
	date := time.Unix(1_700_000_000, 0)
	check(t, b.WriteCPIO(&out, date))
	if out.Len()%512 != 0 {
		t.Errorf("%d bytes", out.Len())
	}
	r := cpio.NewReader(&out)
	seen := map[string]bool{".": true}
	for i, f := range b.Files {
		h, err := r.Next()
		check(t, err)
		if h.Name != f.Path || h.Inode != int64(i+1) || h.Uid != 0 || h.Guid != 0 || !h.ModTime.Equal(date) || fs.FileMode(h.Mode.Perm()) != f.Mode.Perm() {
			t.Errorf("%+v", h)
		}
		if !seen[filepath.Dir(f.Path)] {
			t.Errorf("%s before its directory", f.Path)
		}
		seen[f.Path] = true
		data, err := io.ReadAll(r)
		check(t, err)
		if f.Mode.Type() == fs.ModeSymlink {
			data = []byte(h.Linkname)
		}
		if !bytes.Equal(data, f.Data) {
			t.Errorf("%s has other content", f.Path)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestTime(t *testing.T) {
	for seconds, ok := range map[int64]bool{-1: false, 0: true, 1<<32 - 1: true, 1 << 32: false} {
		if err := standalone(t).WriteCPIO(io.Discard, time.Unix(seconds, 0)); (err == nil) != ok || err != nil && !errors.Is(err, initramfs.ErrTime) {
			t.Errorf("%d: %v", seconds, err)
		}
	}
}

// full takes some bytes, as a disk does.
type full int

func (f *full) Write(p []byte) (int, error) {
	if len(p) > int(*f) {
		return int(*f), syscall.ENOSPC
	}
	*f -= full(len(p))
	return len(p), nil
}

func TestWriteErrorsArrive(t *testing.T) {
	b := standalone(t)
	var all bytes.Buffer
	check(t, b.WriteCPIO(&all, time.Unix(0, 0)))
	for _, size := range []int{0, 50, 115, 1000, all.Len() - 600, all.Len() - 1} {
		room := full(size)
		if err := b.WriteCPIO(&room, time.Unix(0, 0)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestWriteDir(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	b := standalone(t)
	b.Files = append(b.Files, initramfs.File{Path: "link", Mode: fs.ModeSymlink | 0o777, Data: []byte("init")})
	parent := t.TempDir()
	date := time.Unix(1_700_000_000, 0)
	empty := filepath.Join(parent, "empty")
	check(t, os.Mkdir(empty, 0o700))
	for _, dir := range []string{filepath.Join(parent, "new") + "/", empty} {
		check(t, b.WriteDir(dir, date))
		for _, f := range b.Files {
			info, err := os.Lstat(filepath.Join(dir, f.Path))
			check(t, err)
			if info.Mode() != f.Mode {
				t.Errorf("%s has mode %v, not %v", f.Path, info.Mode(), f.Mode)
			}
			if f.Mode.Type() != fs.ModeSymlink && !info.ModTime().Equal(date) {
				t.Errorf("%s is of %v", f.Path, info.ModTime())
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	file, dangling := filepath.Join(parent, "file"), filepath.Join(parent, "dangling")
	check(t, os.WriteFile(file, nil, 0o600))
	check(t, os.Symlink("nowhere", dangling))
	for _, dir := range []string{empty, file, dangling} {
		if err := b.WriteDir(dir, date); !errors.Is(err, initramfs.ErrExists) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := b.WriteDir(filepath.Join(parent, "no", "parent"), date); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 4 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
