package libc_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/libc"
	"github.com/imasign/imasign-build/tests/harness"
)

// Without a preload the C library must report what the kernel reports. These tests
// compare the two. tests/pseudo tests the differences under a preload.

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, []byte("content"), 0o640))
	return path
}

func lstat(t *testing.T, path string) *libc.Stat {
	t.Helper()
	st, err := libc.Lstat(path)
	check(t, err)
	return &st
}

func TestLstatAllSaysWhatTheKernelSays(t *testing.T) {
	dir := t.TempDir()
	for i := range 2000 { // more than one batch
		check(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, i), 0o600))
	}
	odd := "odd-\xff\xfe" + strings.Repeat("x", 200)
	check(t, os.WriteFile(filepath.Join(dir, odd), nil, 0))
	check(t, os.Symlink("nowhere", filepath.Join(dir, "link")))
	check(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	check(t, os.Link(filepath.Join(dir, "7"), filepath.Join(dir, "seven")))
	entries, err := os.ReadDir(dir)
	check(t, err)
	names := []string{"missing"}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	stats, err := libc.LstatAll(dir, names)
	check(t, err)
	if err := stats[0].Err(); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("missing: %v", err)
	}
	for i, name := range names[1:] {
		got := stats[i+1]
		var st unix.Stat_t
		check(t, unix.Lstat(filepath.Join(dir, name), &st))
		want := libc.Stat{
			Dev: st.Dev, Ino: st.Ino, Rdev: st.Rdev, Nlink: uint64(st.Nlink), Size: st.Size, //nolint:unconvert // Nlink's width varies
			Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(), Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", name, got, want)
		}
	}
	if len(stats) != 2005 {
		t.Errorf("%d stats", len(stats))
	}
}

func TestLstatOfTheRoot(t *testing.T) {
	if st := lstat(t, "/"); st.Mode&syscall.S_IFMT != syscall.S_IFDIR || st.Ino != lstat(t, "/proc/..").Ino {
		t.Errorf("%+v", st)
	}
}

func TestANameWithNULIsRefused(t *testing.T) {
	_, err := libc.LstatAll("/", []string{"etc", "e\x00tc"})
	_, _, changed := libc.ChangeXattrs("/etc\x00", &libc.Stat{}, libc.How{AnyState: true}, nil)
	_, _, read := libc.Xattrs("/etc\x00", &libc.Stat{}, "")
	for _, err := range []error{err, changed, read, libc.Unlink("x\x00"), libc.Rename("x", "y\x00"), libc.Link("x", "y\x00")} {
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("got %v", err)
		}
	}
}

func TestChangeAndRead(t *testing.T) {
	path := newFile(t)
	binary := []byte{0, 1, '\n', 0xff, 0}
	big := bytes.Repeat([]byte{7}, 2000)
	made, now, err := libc.ChangeXattrs(path, lstat(t, path), libc.How{}, []libc.Change{
		{Name: "user.binary", Value: binary}, {Name: "user.empty", Value: []byte{}}, {Name: "user.not-there"}, {Name: "user.big", Value: big},
	})
	check(t, err)
	if made != 4 || now.Ctime != lstat(t, path).Ctime {
		t.Errorf("%d changes were made, %+v", made, now)
	}
	for name, want := range map[string][]byte{"user.binary": binary, "user.empty": {}, "user.big": big} {
		got, err := xattr.LGet(path, name)
		check(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is %x", name, got)
		}
	}
	values, _, err := libc.Xattrs(path, lstat(t, path), "user.b")
	check(t, err)
	if got := slices.Sorted(maps.Keys(values)); !slices.Equal(got, []string{"user.big", "user.binary"}) || !bytes.Equal(values["user.big"], big) || !bytes.Equal(values["user.binary"], binary) {
		t.Errorf("%v", values)
	}
	_, _, err = libc.ChangeXattrs(path, lstat(t, path), libc.How{KeepOwner: true}, []libc.Change{{Name: "user.binary"}, {Name: "user.big"}, {Name: "user.empty"}})
	check(t, err)
	if values, _, err := libc.Xattrs(path, lstat(t, path), ""); err != nil || values["user.big"] != nil {
		t.Errorf("%v %v", values, err)
	}
}

// tmpfs mounts a tmpfs and returns the path of a file in it.
func tmpfs(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	path := filepath.Join(dir, "file")
	check(t, os.WriteFile(path, nil, 0o600))
	return path
}

// TestTimesBeyondNanoseconds checks times that 64 bits of nanoseconds do not reach (the
// year 2262): the file is recognised, and a change to its time is noticed.
func TestTimesBeyondNanoseconds(t *testing.T) {
	path := tmpfs(t)
	for _, seconds := range []int64{1 << 40, -1 << 40, 1<<63 - 1} {
		set := func(s int64) {
			t.Helper()
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{}, {Sec: s, Nsec: 7}}, 0))
		}
		set(seconds)
		var st unix.Stat_t
		check(t, unix.Lstat(path, &st))
		before := lstat(t, path)
		if st.Mtim.Sec != seconds || before.Mtime != st.Mtim.Nano() {
			t.Errorf("%d seconds: the kernel reports %d, Lstat %d", seconds, st.Mtim.Sec, before.Mtime)
		}
		if _, _, err := libc.Xattrs(path, before, ""); err != nil {
			t.Errorf("%d seconds: %v", seconds, err)
		}
		set(seconds - 1)
		if _, _, err := libc.Xattrs(path, before, ""); !errors.Is(err, libc.ErrOther) {
			t.Errorf("%d seconds, then one less: %v", seconds, err)
		}
	}
}

// TestMoreXattrsThanTheFirstBuffer needs a file system with room for many xattrs: a
// tmpfs. Before Linux 6.6 tmpfs has no user xattrs, but root can set trusted ones.
func TestMoreXattrsThanTheFirstBuffer(t *testing.T) {
	path := tmpfs(t)
	var changes []libc.Change
	for i := range 300 {
		changes = append(changes, libc.Change{Name: fmt.Sprintf("trusted.%040d", i), Value: bytes.Repeat([]byte{byte(i)}, 1+i)})
	}
	_, _, err := libc.ChangeXattrs(path, lstat(t, path), libc.How{}, changes)
	check(t, err)
	values, _, err := libc.Xattrs(path, lstat(t, path), "trusted.")
	check(t, err)
	if len(values) != len(changes) {
		t.Errorf("%d xattrs, want %d", len(values), len(changes))
	}
	for _, c := range changes {
		if !bytes.Equal(values[c.Name], c.Value) {
			t.Errorf("%s: %x", c.Name, values[c.Name])
		}
	}
}

func TestTheFirstChangeThatFailsIsNamed(t *testing.T) {
	path := newFile(t)
	for _, c := range []struct {
		change  libc.Change
		op      string
		because error
	}{
		{libc.Change{Name: "user.too-big", Value: make([]byte, 70_000)}, libc.OpSet, syscall.E2BIG},
		{libc.Change{Name: "nonamespace", Value: []byte("x")}, libc.OpSet, syscall.EOPNOTSUPP},
		{libc.Change{Name: "user.absent", Value: []byte("x"), Flags: unix.XATTR_REPLACE}, libc.OpSet, syscall.ENODATA},
		{libc.Change{Name: "nonamespace"}, libc.OpRemove, syscall.EOPNOTSUPP},
	} {
		made, _, err := libc.ChangeXattrs(path, lstat(t, path), libc.How{}, []libc.Change{{Name: "user.a", Value: []byte("1")}, c.change, {Name: "user.z", Value: []byte("1")}})
		var failed *libc.Error
		if !errors.As(err, &failed) || failed.Op != c.op || failed.Xattr != c.change.Name || failed.Size != len(c.change.Value) || !errors.Is(err, c.because) || made != 1 {
			t.Errorf("%s: %v", c.change.Name, err)
		}
		if _, err := xattr.LGet(path, "user.z"); !errors.Is(err, xattr.ENOATTR) {
			t.Errorf("%s: changes after it were made: %v", c.change.Name, err)
		}
	}
}

func TestAnotherFileIsRefused(t *testing.T) {
	path, other := newFile(t), newFile(t)
	want := lstat(t, path)
	change := []libc.Change{{Name: "user.x", Value: []byte("1")}}
	untouched := func(what string) {
		t.Helper()
		if values, _, err := libc.Xattrs(other, lstat(t, other), "user."); err != nil || len(values) != 0 {
			t.Errorf("%s: %v %v", what, values, err)
		}
	}
	_, now, err := libc.ChangeXattrs(other, want, libc.How{AnyState: true}, change)
	if !errors.Is(err, libc.ErrOther) || now.Ino != lstat(t, other).Ino {
		t.Errorf("another file: %v %+v", err, now)
	}
	if _, _, err := libc.Xattrs(other, want, ""); !errors.Is(err, libc.ErrOther) {
		t.Errorf("another file's xattrs: %v", err)
	}
	untouched("another file")

	check(t, os.Chmod(path, 0o600)) // ctime
	if _, _, err := libc.ChangeXattrs(path, want, libc.How{}, change); !errors.Is(err, libc.ErrOther) {
		t.Errorf("another state: %v", err)
	}
	if _, _, err := libc.ChangeXattrs(path, want, libc.How{AnyState: true}, change); err != nil {
		t.Errorf("another state is allowed: %v", err)
	}

	check(t, os.Remove(path))
	check(t, os.Symlink(other, path))
	if _, _, err := libc.ChangeXattrs(path, lstat(t, other), libc.How{}, change); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	untouched("a link")
}

// TestCompare tests Compare and SkipOther, which pseudo needs because it ignores the
// flags of setxattr.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name          string
		is, old, want []byte // nil: not there
		because       error
	}{
		{"absent as known", nil, nil, []byte("new"), nil},
		{"as known", []byte("old"), []byte("old"), []byte("new"), nil},
		{"empty as known", []byte{}, []byte{}, []byte("new"), nil},
		{"there", []byte("theirs"), nil, []byte("theirs"), syscall.EEXIST},
		{"empty, but there", []byte{}, nil, []byte{}, syscall.EEXIST},
		{"gone", nil, []byte("old"), nil, syscall.ENODATA},
		{"another value", []byte("odd"), []byte("old"), []byte("odd"), syscall.ENODATA},
		{"a longer value", []byte("older"), []byte("old"), []byte("older"), syscall.ENODATA},
		{"a shorter value", []byte("ol"), []byte("old"), []byte("ol"), syscall.ENODATA},
	} {
		for _, skip := range []bool{false, true} {
			path := newFile(t)
			if c.is != nil {
				check(t, xattr.LSet(path, "user.x", c.is))
			}
			_, _, err := libc.ChangeXattrs(path, lstat(t, path), libc.How{Compare: !skip, SkipOther: skip}, []libc.Change{{Name: "user.x", Old: c.old, Value: []byte("new")}})
			if skip && err != nil || !skip && !errors.Is(err, c.because) {
				t.Errorf("%s (skip %v): %v", c.name, skip, err)
			}
			got, err := xattr.LGet(path, "user.x")
			if (err == nil) != (c.want != nil) || string(got) != string(c.want) {
				t.Errorf("%s (skip %v): it is %q now, %v", c.name, skip, got, err)
			}
		}
	}
}

// TestXattrsOfWhatIsNotOpened reads the xattrs of a link and a device by path.
func TestXattrsOfWhatIsNotOpened(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	link, device, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "device"), filepath.Join(dir, "fifo")
	check(t, os.Symlink("fifo", link))
	check(t, syscall.Mkfifo(fifo, 0o600))
	check(t, syscall.Mknod(device, syscall.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	for _, path := range []string{link, device, fifo} {
		check(t, xattr.LSet(path, "trusted.x", []byte(path)))
		st := lstat(t, path)
		values, _, err := libc.Xattrs(path, st, "trusted.")
		if err != nil || string(values["trusted.x"]) != path {
			t.Errorf("%s: %v %v", path, values, err)
		}
		st.Ino++
		if _, _, err := libc.Xattrs(path, st, ""); !errors.Is(err, libc.ErrOther) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	check(t, libc.Create(a, 0o600))
	if err := libc.Create(a, 0o600); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("created again: %v", err)
	}
	check(t, libc.Chmod(a, 0o2751))
	check(t, libc.Chown(a, uint32(os.Geteuid()), uint32(os.Getegid())))
	check(t, libc.Link(a, b))
	if err := libc.Link(a, b); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("linked again: %v", err)
	}
	if st := lstat(t, b); st.Mode&0o777 != 0o751 || st.Nlink != 2 {
		t.Errorf("%+v", st)
	}
	check(t, libc.Unlink(a))
	check(t, libc.Rename(b, a))
	if err := libc.Unlink(b); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("unlinked again: %v", err)
	}
}

func TestPreloadName(t *testing.T) {
	for library, want := range map[string]string{
		"libpseudo.so": "pseudo", "libfakeroot-sysv.so": "fakeroot", "libfakeroot-tcp.so": "fakeroot", "libfakeroot-0.so.1": "fakeroot",
		"libc.so.6": "", "pseudo": "", "libpseudonym.a": "", "": "",
	} {
		if got := libc.PreloadName(library); got != want {
			t.Errorf("%s: %q", library, got)
		}
	}
}

func Example() {
	st, err := libc.Lstat("/dev/null")
	fmt.Println(st.Mode&syscall.S_IFMT == syscall.S_IFCHR, err)
	// Output: true <nil>
}
