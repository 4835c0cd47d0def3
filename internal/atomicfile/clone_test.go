package atomicfile_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/tests/harness"
)

// sparse makes a file of 8 MiB with data at its beginning, in its middle, and in its last
// byte or not.
func sparse(t *testing.T, dir string, last bool) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "from"))
	check(t, err)
	t.Cleanup(func() { f.Close() })
	check(t, f.Truncate(8<<20))
	for _, at := range []int64{0, 3<<20 + 17, 8<<20 - 5} {
		if last || at < 8<<20-5 {
			_, err = f.WriteAt([]byte("data!"), at)
			check(t, err)
		}
	}
	return f
}

func blocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Fstat(int(f.Fd()), &st))
	return st.Blocks * 512
}

func TestCloneKeepsHoles(t *testing.T) {
	for _, last := range []bool{false, true} {
		dir := t.TempDir()
		from := sparse(t, dir, last)
		to, err := os.Create(filepath.Join(dir, "to"))
		check(t, err)
		defer to.Close()
		check(t, atomicfile.Clone(t.Context(), to, from))
		got, err := os.ReadFile(to.Name())
		check(t, err)
		want, err := os.ReadFile(from.Name())
		check(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("last %v: the copy differs", last)
		}
		if n := blocks(t, to); n > 1<<20 {
			t.Errorf("last %v: the copy takes %d bytes", last, n)
		}
	}
}

func TestCloneEndsWithItsContext(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir() // tmpfs shares no blocks
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	from := sparse(t, dir, true)
	to, err := os.Create(filepath.Join(dir, "to"))
	check(t, err)
	defer to.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := atomicfile.Clone(ctx, to, from); err == nil || err.Error() != "enough" {
		t.Errorf("got %v", err)
	}
	_, err = from.WriteAt(bytes.Repeat([]byte("x"), 600<<10), 1<<20)
	check(t, err)
	if err := atomicfile.Clone(t.Context(), to, from); !errors.Is(err, syscall.ENOSPC) || err.Error() != syscall.ENOSPC.Error() {
		t.Errorf("full disk: %v", err)
	}
}
