package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/tests/harness"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names lists dir, to show temporary files that are left.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func content(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	check(t, err)
	if string(got) != want {
		t.Errorf("%s contains %.20q, want %q", path, got, want)
	}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	check(t, err)
	return info.Mode()
}

func TestNothingExistsBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for name, create := range map[string]func(string, fs.FileMode) (*atomicfile.File, error){
		"Create": atomicfile.Create, "CreateNew": atomicfile.CreateNew,
	} {
		f, err := create(path, 0o644)
		check(t, err)
		_, err = f.Write([]byte("one "))
		check(t, err)
		_, err = f.ReadFrom(strings.NewReader("two"))
		check(t, err)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: visible before Commit: %v", name, err)
		}
		check(t, f.Commit())
		f.Abort()
		content(t, path, "one two")
		if got := names(t, dir); got != "out" {
			t.Errorf("%s: left %q", name, got)
		}
		if err := f.Commit(); !errors.Is(err, atomicfile.ErrAborted) {
			t.Errorf("%s: second Commit: %v", name, err)
		}
		check(t, os.Remove(path))
	}
}

func TestAbortLeavesTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	check(t, os.WriteFile(path, []byte("old"), 0o644))
	f, err := atomicfile.Create(path, 0o644)
	check(t, err)
	_, err = f.Write([]byte("new"))
	check(t, err)
	f.Abort()
	f.Abort()
	content(t, path, "old")
	if got := names(t, dir); got != "out" {
		t.Errorf("left %q", got)
	}
	if err := f.Commit(); !errors.Is(err, atomicfile.ErrAborted) {
		t.Errorf("Commit after Abort: %v", err)
	}
	if _, err := f.Write(nil); !errors.Is(err, atomicfile.ErrAborted) {
		t.Errorf("Write after Abort: %v", err)
	}
	content(t, path, "old")
}

func TestReplaceIsARename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	check(t, os.WriteFile(path, []byte("old"), 0o644))
	reader, err := os.Open(path)
	check(t, err)
	defer reader.Close()
	check(t, atomicfile.WriteFile(path, []byte("new"), 0o644))
	var old bytes.Buffer
	_, err = old.ReadFrom(reader)
	check(t, err)
	if old.String() != "old" {
		t.Errorf("the old file was written into: %q", old.String())
	}
	content(t, path, "new")
}

func TestModeAndOwnerAreKept(t *testing.T) {
	harness.Root(t)
	path := filepath.Join(t.TempDir(), "out")
	check(t, os.WriteFile(path, []byte("old"), 0o600))
	check(t, os.Chown(path, 1234, 4321))
	check(t, os.Chmod(path, 0o640|fs.ModeSetgid))
	check(t, atomicfile.WriteFile(path, []byte("new"), 0o777))
	if got := mode(t, path); got != 0o640|fs.ModeSetgid {
		t.Errorf("mode %v", got)
	}
	info, err := os.Stat(path)
	check(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
}

func TestNewFileObeysTheUmask(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	dir := t.TempDir()
	check(t, atomicfile.WriteFile(filepath.Join(dir, "a"), nil, 0o666))
	check(t, atomicfile.WriteNewFile(filepath.Join(dir, "b"), nil, 0o600))
	if a, b := mode(t, filepath.Join(dir, "a")), mode(t, filepath.Join(dir, "b")); a != 0o640 || b != 0o600 {
		t.Errorf("modes %v %v", a, b)
	}
}

func TestSymbolicLinkStays(t *testing.T) {
	dir := t.TempDir()
	far := filepath.Join(dir, "far", "deep")
	check(t, os.MkdirAll(far, 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "far", "file"), []byte("old"), 0o644))
	check(t, os.Symlink("far/deep", filepath.Join(dir, "dir")))
	// The parent of dir is far, not the test's directory.
	check(t, os.Symlink("../file", filepath.Join(far, "link")))
	check(t, os.Symlink("../dangling", filepath.Join(far, "loose")))
	for link, want := range map[string]string{"link": "file", "loose": "dangling"} {
		check(t, atomicfile.WriteFile(filepath.Join(dir, "dir", link), []byte("new"), 0o644))
		content(t, filepath.Join(dir, "far", want), "new")
		if info, err := os.Lstat(filepath.Join(far, link)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s: the link is gone: %v %v", link, info, err)
		}
	}
	if got := names(t, dir); got != "dir far" {
		t.Errorf("left %q", got)
	}
	check(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	if err := atomicfile.WriteFile(filepath.Join(dir, "loop"), nil, 0o644); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("loop: %v", err)
	}
}

func TestCreateRefusesSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	check(t, syscall.Mkfifo(fifo, 0o600))
	check(t, os.Symlink("/dev/null", filepath.Join(dir, "null")))
	for _, path := range []string{dir, fifo, filepath.Join(dir, "null"), "/dev/null"} {
		if _, err := atomicfile.Create(path, 0o644); !errors.Is(err, atomicfile.ErrNotRegular) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCreateNewRefusesExistingFiles(t *testing.T) {
	dir := t.TempDir()
	file, dangling := filepath.Join(dir, "file"), filepath.Join(dir, "dangling")
	check(t, os.WriteFile(file, []byte("old"), 0o644))
	check(t, os.Symlink("nowhere", dangling))
	for _, path := range []string{file, dangling, dir} {
		if err := atomicfile.WriteNewFile(path, []byte("new"), 0o644); !errors.Is(err, atomicfile.ErrExists) {
			t.Errorf("%s: %v", path, err)
		}
	}
	content(t, file, "old")
}

func TestCreateNewLosesTheRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f, err := atomicfile.CreateNew(path, 0o644)
	check(t, err)
	_, err = f.Write([]byte("mine"))
	check(t, err)
	check(t, os.WriteFile(path, []byte("theirs"), 0o644))
	if err := f.Commit(); !errors.Is(err, atomicfile.ErrExists) {
		t.Errorf("got %v", err)
	}
	content(t, path, "theirs")
	if got := names(t, dir); got != "out" {
		t.Errorf("left %q", got)
	}
}

// TestFullDisk fills a real, tiny file system.
func TestFullDisk(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "out")
	check(t, os.WriteFile(path, []byte("old"), 0o644))
	f, err := atomicfile.Create(path, 0o644)
	check(t, err)
	_, err = f.Write(make([]byte, 128<<10))
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("write: %v", err)
	}
	if err := f.Commit(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("an incomplete file was committed: %v", err)
	}
	content(t, path, "old")
	if got := names(t, dir); got != "out" {
		t.Errorf("left %q", got)
	}
}

// TestFileSizeLimit runs the test binary under a limit that the write exceeds.
func TestFileSizeLimit(t *testing.T) {
	if path := os.Getenv("ATOMICFILE_LIMITED"); path != "" {
		if err := atomicfile.WriteFile(path, make([]byte, 64<<10), 0o644); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("got %v", err)
		}
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	check(t, os.WriteFile(path, []byte("old"), 0o644))
	// Go ignores SIGXFSZ, so the write fails with EFBIG.
	cmd := exec.Command("sh", "-c", `ulimit -f 8; exec "$0" -test.run '^TestFileSizeLimit$'`, os.Args[0])
	cmd.Env = append(os.Environ(), "ATOMICFILE_LIMITED="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	content(t, path, "old")
	if got := names(t, dir); got != "out" {
		t.Errorf("left %q", got)
	}
}

func TestDirectoryThatCannotBeWrittenInto(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	path := filepath.Join(dir, "out")
	check(t, os.WriteFile(path, []byte("old"), 0o644))
	check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, write := range []func(string, []byte, fs.FileMode) error{atomicfile.WriteFile, atomicfile.WriteNewFile} {
		err := write(path, nil, 0o644)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v", err)
		}
	}
	if err := atomicfile.WriteFile(path, nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
	content(t, path, "old")
	missing := filepath.Join(dir, "no", "out")
	if err := atomicfile.WriteFile(missing, nil, 0o644); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
}
