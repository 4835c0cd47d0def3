package stmode_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/internal/stmode"
)

// TestAsTheSystemHasIt compares both directions with the modes that package os returns.
func TestAsTheSystemHasIt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, kind := range map[string]uint32{"file": syscall.S_IFREG, "fifo": syscall.S_IFIFO, "socket": syscall.S_IFSOCK} {
		check(t, syscall.Mknod(at(name), kind|0o600, 0))
	}
	check(t, os.Mkdir(at("directory"), 0o700))
	paths := []string{"/dev/null", dir, "/"}
	if blocks, _ := filepath.Glob("/sys/block/*"); len(blocks) > 0 {
		paths = append(paths, "/dev/"+filepath.Base(blocks[0]))
	}
	for _, name := range []string{"file", "fifo", "socket", "directory"} {
		for _, mode := range []fs.FileMode{0, 0o777, 0o640, 0o755 | fs.ModeSetuid, 0o711 | fs.ModeSetgid, 0o777 | fs.ModeSticky, fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky} {
			check(t, os.Chmod(at(name), mode))
			compare(t, at(name))
			if got := stmode.Permissions(mode); stmode.FileMode(got) != mode {
				t.Errorf("%v became %04o", mode, got)
			}
		}
	}
	check(t, os.Symlink("file", at("link")))
	for _, path := range append(paths, at("link")) {
		compare(t, path)
	}
}

func compare(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return // this machine does not have the device node
	}
	check(t, err)
	st := info.Sys().(*syscall.Stat_t)
	if got := stmode.FileMode(st.Mode); got != info.Mode() {
		t.Errorf("%s: %06o became %v, not %v", path, st.Mode, got, info.Mode())
	}
	if got := stmode.Permissions(info.Mode()); got != st.Mode&0o7777 {
		t.Errorf("%s: %v became %04o, not %04o", path, info.Mode(), got, st.Mode&0o7777)
	}
}

// TestEveryMode checks that no permission bit is lost, with any type.
func TestEveryMode(t *testing.T) {
	for mode := range uint32(1 << 16) {
		if got := stmode.Permissions(stmode.FileMode(mode)); got != mode&0o7777 {
			t.Fatalf("%06o became %04o", mode, got)
		}
	}
	if got := stmode.FileMode(0o060660); got != fs.ModeDevice|0o660 { // not every machine has a block device
		t.Error(got)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func Example() {
	mode := stmode.FileMode(0o104755)
	fmt.Printf("%v %04o\n", mode, stmode.Permissions(mode))
	// Output: urwxr-xr-x 4755
}
