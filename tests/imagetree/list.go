package imagetree

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// File is what a comparison knows about one name.
type File struct {
	Path     string // relative to the root
	Mode     uint32 // st_mode
	UID, GID uint32
	// Size and Sum are those of the content, or of a symbolic link's target; 0 and "" for
	// files of other types. Sum is in hexadecimal.
	Size         int64
	Sum          string
	Major, Minor uint32 // of a device
	// Links is the number of names, and First is the first one. Directories have neither.
	Links  uint64
	First  string
	Xattrs map[string]string
}

// identity of an inode in a listing.
type identity struct{ dev, ino uint64 }

type lister struct {
	testing.TB
	dir   string
	first map[identity]*File
	files []File
}

// List lists what is below a directory, sorted by path. It leaves out the empty lost+found
// that mkfs makes.
func List(t testing.TB, dir string) []File {
	t.Helper()
	l := lister{TB: t, dir: dir, first: map[identity]*File{}}
	l.list("")
	Sort(l.files)
	return l.files
}

// Sort sorts files by path and sets First, which must be the same for all names of a hard
// link.
func Sort(files []File) {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	first := map[string]string{}
	for i := range files {
		key := files[i].First
		if _, met := first[key]; !met {
			first[key] = files[i].Path
		}
		if key != "" {
			files[i].First = first[key]
		}
	}
}

func (l *lister) list(below string) {
	entries, err := os.ReadDir(filepath.Join(l.dir, below))
	if err != nil {
		l.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(below, e.Name())
		if f := l.file(path); path != "lost+found" || f.Mode != unix.S_IFDIR|0o700 || f.UID != 0 {
			l.files = append(l.files, f)
		}
		if e.IsDir() {
			l.list(path)
		}
	}
}

func (l *lister) file(path string) File {
	full := filepath.Join(l.dir, path)
	var st unix.Stat_t
	if err := unix.Lstat(full, &st); err != nil {
		l.Fatalf("%q: %v", path, err)
	}
	f := File{Path: path, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Xattrs: l.xattrs(full)}
	if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFBLK || kind == unix.S_IFCHR {
		f.Major, f.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return f
	}
	key := identity{st.Dev, st.Ino}
	if before := l.first[key]; before != nil {
		f = *before
		f.Path = path
		return f
	}
	f.Links, f.First = uint64(st.Nlink), fmt.Sprint(key) //nolint:unconvert // Nlink is not uint64 on all systems
	f.Size, f.Sum = l.content(full, st.Mode)
	l.first[key] = &f
	return f
}

func (l *lister) content(path string, mode uint32) (int64, string) {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		f, err := os.Open(path)
		if err != nil {
			l.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		return l.sum(f)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			l.Fatal(err)
		}
		return l.sum(strings.NewReader(target))
	}
	return 0, ""
}

func (l *lister) sum(content io.Reader) (int64, string) {
	size, sum, err := Sum(content)
	if err != nil {
		l.Fatal(err)
	}
	return size, sum
}

// Sum returns the size and the digest of a content.
func Sum(content io.Reader) (int64, string, error) {
	h := sha256.New()
	n, err := io.Copy(h, content)
	return n, fmt.Sprintf("%x", h.Sum(nil)), err
}

func (l *lister) xattrs(path string) map[string]string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		l.Fatalf("%q: %v", path, err)
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			l.Fatalf("%q: %s: %v", path, name, err)
		}
		all[name] = string(value[:n])
	}
	return all
}

// Same fails the test if two listings differ, and names the first differences.
func Same(t testing.TB, want, got []File) {
	t.Helper()
	all := differences(want, got)
	if len(all) > 20 {
		all = append(all[:20], fmt.Sprintf("and %d more", len(all)-20))
	}
	if len(all) > 0 {
		t.Errorf("the listings differ:\n%s", strings.Join(all, "\n"))
	}
	if len(want) == 0 {
		t.Error("the listing is empty")
	}
}

func differences(want, got []File) (all []string) {
	index := map[string]File{}
	for _, f := range got {
		if _, twice := index[f.Path]; twice {
			all = append(all, fmt.Sprintf("%q is there twice", f.Path))
		}
		index[f.Path] = f
	}
	for _, w := range want {
		g, there := index[w.Path]
		switch delete(index, w.Path); {
		case !there:
			all = append(all, fmt.Sprintf("%q is missing", w.Path))
		case w.text() != g.text():
			all = append(all, fmt.Sprintf("%q: want %s\n\tgot %s", w.Path, w.text(), g.text()))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(index)) {
		all = append(all, fmt.Sprintf("%q should not be there", path))
	}
	return all
}

// text returns everything but the path. Long values are shown in part, with their digests.
func (f *File) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mode %o, owner %d:%d, size %d, SHA-256 %q, device %d:%d, %d names, first %q", f.Mode, f.UID, f.GID, f.Size, f.Sum, f.Major, f.Minor, f.Links, f.First)
	for _, name := range slices.Sorted(maps.Keys(f.Xattrs)) {
		value := f.Xattrs[name]
		fmt.Fprintf(&b, ", %s=%q", name, value[:min(len(value), 24)])
		if len(value) > 24 {
			fmt.Fprintf(&b, "… (%d bytes, %x)", len(value), sha256.Sum256([]byte(value)))
		}
	}
	return b.String()
}
