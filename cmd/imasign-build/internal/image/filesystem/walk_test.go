package filesystem_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// hostile is a file system in memory. It stands for images that no mkfs makes.
type hostile struct {
	format string
	inodes map[filesystem.ID]filesystem.Inode
	dirs   map[filesystem.ID][]filesystem.Dirent
}

func (h *hostile) Facts() filesystem.Facts { return filesystem.Facts{Type: h.format} }
func (h *hostile) Root() filesystem.ID     { return 1 }

func (h *hostile) Inode(id filesystem.ID) (filesystem.Inode, error) {
	if in, ok := h.inodes[id]; ok {
		return in, nil
	}
	return filesystem.Inode{}, filesystem.Corrupt("there is no inode %d", id)
}

func (h *hostile) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	for _, d := range h.dirs[id] {
		if err := take(d); err != nil {
			return err
		}
	}
	return nil
}

func (h *hostile) Readlink(filesystem.ID) (string, error)             { return "", nil }
func (h *hostile) Xattrs(filesystem.ID) (map[string][]byte, error)    { return nil, nil }
func (h *hostile) Open(filesystem.ID) (c filesystem.Content, _ error) { return c, nil }

// add adds a name to a directory. A mode of 0 is that of a regular file.
func (h *hostile) add(dir filesystem.ID, name string, id filesystem.ID, in filesystem.Inode) {
	h.inodes[id] = in
	h.dirs[dir] = append(h.dirs[dir], filesystem.Dirent{Name: name, ID: id})
}

func empty(format string) *hostile {
	return &hostile{
		format: format,
		inodes: map[filesystem.ID]filesystem.Inode{1: directory(0o755)},
		dirs:   map[filesystem.ID][]filesystem.Dirent{},
	}
}

func directory(mode fs.FileMode) filesystem.Inode { return filesystem.Inode{Mode: fs.ModeDir | mode} }

// walk returns the paths of a walk, and its error.
func walk(r filesystem.Reader, o filesystem.Options) (paths []string, err error) {
	for n, err := range filesystem.Walk(context.Background(), r, o) {
		if err != nil {
			return paths, err
		}
		paths = append(paths, n.Path)
	}
	return paths, nil
}

func TestWalkIsInByteOrder(t *testing.T) {
	h := empty("squashfs")
	h.add(1, "a-b", 2, filesystem.Inode{})
	h.add(1, "a", 3, directory(0o755))
	h.add(1, "\xff", 4, filesystem.Inode{})
	h.add(3, "x", 5, filesystem.Inode{})
	h.add(1, "a0", 6, filesystem.Inode{})
	got, err := walk(h, filesystem.Options{})
	want := []string{"a", "a-b", "a/x", "a0", "\xff"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestWalkRefuses(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		build func(*hostile)
		want  error
		text  string
	}{
		"a name with a slash":   {func(h *hostile) { h.add(1, "a/b", 2, filesystem.Inode{}) }, filesystem.ErrCorrupt, "a/b"},
		"a name with a NUL":     {func(h *hostile) { h.add(1, "a\x00", 2, filesystem.Inode{}) }, filesystem.ErrCorrupt, `"a\x00"`},
		"an empty name":         {func(h *hostile) { h.add(1, "", 2, filesystem.Inode{}) }, filesystem.ErrCorrupt, ""},
		"the parent":            {func(h *hostile) { h.add(1, "..", 2, directory(0o755)) }, filesystem.ErrCorrupt, ".."},
		"a long name":           {func(h *hostile) { h.add(1, strings.Repeat("n", 256), 2, filesystem.Inode{}) }, filesystem.ErrCorrupt, "256"},
		"a name that repeats":   {func(h *hostile) { h.add(1, "a", 2, filesystem.Inode{}); h.add(1, "a", 3, filesystem.Inode{}) }, filesystem.ErrCorrupt, "repeats"},
		"a directory, repeated": {func(h *hostile) { h.add(1, "a", 2, directory(0)); h.add(1, "a", 3, directory(0)) }, filesystem.ErrCorrupt, "repeats"},
		"a missing inode":       {func(h *hostile) { h.add(1, "a", 2, filesystem.Inode{}); delete(h.inodes, 2) }, filesystem.ErrCorrupt, "a: corrupt"},
		"no user":               {func(h *hostile) { h.add(1, "a", 2, filesystem.Inode{UID: 1<<32 - 1}) }, filesystem.ErrCorrupt, "a: corrupt: it belongs to user 4294967295"},
		"no group":              {func(h *hostile) { h.add(1, "a", 2, filesystem.Inode{GID: 1<<32 - 1}) }, filesystem.ErrCorrupt, "group 4294967295"},
		"a loop":                {func(h *hostile) { h.add(1, "a", 2, directory(0)); h.add(2, "b", 1, directory(0)) }, filesystem.ErrCorrupt, "a/b"},
		"a linked directory":    {func(h *hostile) { h.add(1, "a", 2, directory(0)); h.add(1, "b", 2, directory(0)) }, filesystem.ErrCorrupt, "several names"},
		"much content": {func(h *hostile) {
			for i := range 3 {
				h.add(1, fmt.Sprint(i), filesystem.ID(2+i), filesystem.Inode{Size: mib / 2})
			}
		}, filesystem.ErrLimit, "2"},
		"content whose sum overflows": {func(h *hostile) {
			h.add(1, "a", 2, filesystem.Inode{Size: 1})
			h.add(1, "b", 3, filesystem.Inode{Size: 1<<63 - 1})
		}, filesystem.ErrLimit, "b"},
		"too many names": {func(h *hostile) {
			for i := range 500_000 {
				h.add(1, fmt.Sprint(i), filesystem.ID(2+i), filesystem.Inode{})
			}
		}, filesystem.ErrLimit, "/"},
		"directories with the same names": {func(h *hostile) {
			shared := make([]filesystem.Dirent, 1000)
			for i := range shared {
				shared[i] = filesystem.Dirent{Name: fmt.Sprint(i), ID: 2}
			}
			h.inodes[2] = filesystem.Inode{}
			for i := range filesystem.ID(700) {
				h.add(1, fmt.Sprint(i), 3+i, directory(0o755))
				h.dirs[3+i] = shared
			}
		}, filesystem.ErrLimit, "names"},
		"too deep": {func(h *hostile) {
			for i := range filesystem.ID(300) {
				h.add(1+i, strings.Repeat("d", 255), 2+i, directory(0o755))
			}
		}, filesystem.ErrLimit, "path"},
	} {
		t.Run(name, func(t *testing.T) {
			h := empty("ext4")
			c.build(h)
			_, err := walk(h, filesystem.Options{MaxContent: mib, MaxNames: 600_000})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v with %q", err, c.want, c.text)
			}
		})
	}
}

func TestHardLinksAreCountedOnce(t *testing.T) {
	h := empty("ext4")
	for i := range 5 {
		h.add(1, fmt.Sprint(i), 2, filesystem.Inode{Size: 1 << 20, Links: 5})
	}
	if got, err := walk(h, filesystem.Options{MaxContent: 1 << 20}); err != nil || len(got) != 5 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLostAndFound(t *testing.T) {
	made := directory(0o700)
	for name, c := range map[string]struct {
		format string
		in     filesystem.Inode
		full   bool
		lists  bool
		want   int
	}{
		"made by mkfs":       {"ext4", made, false, false, 0},
		"in the manifest":    {"ext4", made, false, true, 1},
		"with a file":        {"ext2", made, true, false, 2},
		"with another mode":  {"ext3", directory(0o755), false, false, 1},
		"of another owner":   {"ext4", filesystem.Inode{Mode: fs.ModeDir | 0o700, UID: 1}, false, false, 1},
		"in another format":  {"squashfs", made, false, false, 1},
		"which is no folder": {"ext4", filesystem.Inode{Mode: 0o700}, false, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := empty(c.format)
			h.add(1, "lost+found", 11, c.in)
			if c.full {
				h.add(11, "#12", 12, filesystem.Inode{})
			}
			got, err := walk(h, filesystem.Options{Lists: func(string) bool { return c.lists }})
			if err != nil || len(got) != c.want {
				t.Errorf("%q, %v; want %d names", got, err, c.want)
			}
		})
	}
	h := empty("ext4")
	h.add(1, "d", 2, directory(0o755))
	h.add(2, "lost+found", 3, made)
	if got, err := walk(h, filesystem.Options{}); err != nil || len(got) != 2 {
		t.Errorf("below the root: %q, %v", got, err)
	}
}

func TestMounts(t *testing.T) {
	root, home := empty("ext4"), empty("squashfs")
	root.add(1, "home", 2, directory(0o700))
	root.add(2, "hidden", 3, filesystem.Inode{})
	root.add(1, "home2", 4, filesystem.Inode{})
	home.inodes[1] = directory(0o751)
	home.add(1, "user", 2, directory(0o750))
	home.add(2, "file", 3, filesystem.Inode{Size: 7})
	o := filesystem.Options{Mounts: map[string]filesystem.Reader{"home": home}}
	var got []string
	for n, err := range filesystem.Walk(context.Background(), root, o) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v %s %d", n.Path, n.Mode, n.Reader.Facts().Type, n.ID))
	}
	want := []string{"home drwxr-x--x squashfs 1", "home/user drwxr-x--- squashfs 2", "home/user/file ---------- squashfs 3", "home2 ---------- ext4 4"}
	if !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	for _, at := range []string{"srv", "home2"} {
		o.Mounts = map[string]filesystem.Reader{at: home}
		if _, err := walk(root, o); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("mounted on %s: %v", at, err)
		}
	}
}

func TestWalkEndsWithItsContext(t *testing.T) {
	h := empty("ext4")
	h.add(1, "a", 2, filesystem.Inode{})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("stopped")
	cancel(why)
	for n, err := range filesystem.Walk(ctx, h, filesystem.Options{}) {
		if !errors.Is(err, why) {
			t.Errorf("%q, %v", n.Path, err)
		}
	}
}
