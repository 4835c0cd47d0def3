package tree

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counting returns a counter of the bytes of paths that the tree makes the kernel resolve.
func counting(tr *Tree) *int {
	n, part := new(int), tr.anchors.part
	tr.anchors.part = func(at int, path string, flags int) (int, error) {
		*n += len(path)
		return part(at, path, flags)
	}
	return n
}

// TestDepthIsLinear walks a deep tree and opens each name. The bytes of paths that the kernel
// resolves, and the memory of the paths, must be proportional to the number of names, not to
// its square.
func TestDepthIsLinear(t *testing.T) {
	for _, k := range kernels {
		t.Run(k.name, func(t *testing.T) {
			depth, length := 200, 255
			if k.openat2 {
				depth, length = 2000, 8
			}
			dir := t.TempDir()
			bottom := deep(t, dir, depth, length)
			tr := open(t, dir, Options{CLibrary: k.library})
			if tr.openat2 = k.openat2; !k.mounts {
				tr.mount = 0
			}
			linear(t, tr, depth, bottom)
		})
	}
}

func linear(t *testing.T, tr *Tree, depth int, bottom string) {
	resolved := counting(tr)
	var paths []string
	buffers := map[*byte]bool{}
	for n, err := range tr.Walk(t.Context()) {
		ok(t, err)
		paths = append(paths, n.Path)
		buffers[unsafe.StringData(n.Path)] = true
	}
	if len(paths) != depth+1 || paths[depth] != bottom {
		t.Fatalf("%d names", len(paths))
	}
	if most := 3 * partLength * len(paths); *resolved > most {
		t.Errorf("the walk resolves %d bytes for %d names, want at most %d", *resolved, len(paths), most)
	}
	if len(buffers) > 100 {
		t.Errorf("the paths are in %d allocations", len(buffers))
	}
	for _, step := range []int{1, -1} { // downwards, and upwards
		*resolved = 0
		for i := range paths {
			path := paths[i]
			if step < 0 {
				path = paths[len(paths)-1-i]
			}
			f, err := tr.Open(path)
			ok(t, err)
			ok(t, f.Close())
		}
		if most := 3 * partLength * len(paths); *resolved > most {
			t.Errorf("opening all, in steps of %d, resolves %d bytes for %d names, want at most %d", step, *resolved, len(paths), most)
		}
	}
	if n := len(tr.anchors.list); n > maxAnchors {
		t.Errorf("%d directories stay open", n)
	}
}

// TestAnchorsOfRemovedDirectories checks that an anchor of a removed directory is dropped, so
// that the path leads to the new directory.
func TestAnchorsOfRemovedDirectories(t *testing.T) {
	dir := t.TempDir()
	bottom := deep(t, dir, 40, 255)
	tr := open(t, dir, Options{})
	was, err := tr.Open(bottom)
	ok(t, err)
	defer was.Close()
	run(t, "rm", "-rf", filepath.Join(dir, "0"))
	if _, err := tr.Open(bottom); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a removed directory: %v", err)
	}
	deep(t, dir, 40, 255)
	now, err := tr.Open(bottom)
	ok(t, err)
	defer now.Close()
	old, err := StampOf(was)
	ok(t, err)
	if stamp, err := StampOf(now); err != nil || stamp.SameInode(old) {
		t.Errorf("opened the removed file (%v)", err)
	}
	run(t, "rm", "-rf", filepath.Join(dir, "0"))
}

// TestAnchorsLeadDownwardsOnly checks that paths that Walk never yields are refused below an
// anchor too.
func TestAnchorsLeadDownwardsOnly(t *testing.T) {
	dir := t.TempDir()
	bottom := deep(t, dir, 40, 255)
	tr := open(t, dir, Options{})
	f, err := tr.Open(bottom)
	ok(t, err)
	ok(t, f.Close())
	for _, path := range []string{bottom + "/", bottom + "/..", bottom + "/./x", filepath.Dir(bottom) + "/../x", filepath.Dir(bottom) + "//x"} {
		if _, err := tr.Open(path); !errors.Is(err, os.ErrInvalid) && !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("…%q: %v", path[len(bottom)-3:], err)
		}
	}
}
