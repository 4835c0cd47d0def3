package sigcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// mounted makes a cache with 1000 signatures on a tmpfs of its own.
func mounted(t *testing.T, key *signer, options string) (dir string, signatures [][]byte) {
	t.Helper()
	harness.Root(t)
	at := t.TempDir()
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	from, signatures := filled(t, key, 1000)
	dir = filepath.Join(at, "cache")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, signatures
}

// TestDisksThatAreFull fills the disk before the cache is opened, or while it is used.
func TestDisksThatAreFull(t *testing.T) {
	key := newSigner(t)
	for name, early := range map[string]bool{"before": true, "while open": false} {
		for _, clean := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dir, signatures := mounted(t, key, "size=2m,mode=0700")
				if clean { // as sqlite3 leaves it
					for _, suffix := range []string{"-wal", "-shm"} {
						if err := os.Remove(filepath.Join(dir, File) + suffix); err != nil {
							t.Fatal(err)
						}
					}
				}
				var s *Store
				var w *harness.Warnings
				if !early {
					s, w = open(t, dir, Options{})
				}
				fill(t, filepath.Join(dir, "fill"))
				if early {
					s, w = open(t, dir, Options{})
				}
				storesNothing(t, s, w, key, signatures, "no space left", "full")
			})
		}
	}
	dir, _ := mounted(t, key, "size=2m,mode=0700")
	dir = filepath.Dir(dir)
	fill(t, filepath.Join(dir, "fill"))
	_, err := Open(context.Background(), filepath.Join(dir, "new"), Options{})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a new cache on a full disk: %v", err)
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// storesNothing fails the test unless all stored signatures are found, others are not stored,
// and there is one warning, which has the path and one of the reasons.
func storesNothing(t *testing.T, s *Store, w *harness.Warnings, key *signer, signatures [][]byte, reasons ...string) {
	t.Helper()
	ctx, b := context.Background(), key.batch(0, len(signatures))
	for range 2 {
		if got := s.Get(ctx, b); !equal(got, signatures) {
			t.Error("not all signatures were found")
		}
		more := key.batch(10000, 15000)
		s.Put(ctx, more, slices.Repeat(signatures[:100], 50), nil) // nothing verifies them
	}
	warning := w.Check(t, s.Path())
	if !slices.ContainsFunc(reasons, func(reason string) bool { return strings.Contains(warning, reason) }) {
		t.Errorf("warning %q says none of %q", warning, reasons)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	key := newSigner(t)
	for _, clean := range []bool{true, false} {
		dir, signatures := mounted(t, key, "size=4m,mode=0700")
		if clean {
			for _, suffix := range []string{"-wal", "-shm"} {
				if err := os.Remove(filepath.Join(dir, File) + suffix); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := unix.Mount("", filepath.Dir(dir), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		s, w := open(t, dir, Options{})
		if stats, err := s.Stats(context.Background()); err != nil || stats.Entries != 1000 {
			t.Errorf("%+v %v", stats, err)
		}
		if _, err := s.Shrink(context.Background(), 0); !errors.Is(err, unix.EROFS) {
			t.Errorf("Shrink: %v", err)
		}
		storesNothing(t, s, w, key, signatures, "read-only file system")
		if _, err := Open(context.Background(), filepath.Join(filepath.Dir(dir), "new"), Options{}); !errors.Is(err, unix.EROFS) {
			t.Errorf("a new cache: %v", err)
		}
	}
}

// TestReadOnlyFiles takes away the permission to write. As root, only an immutable file can
// not be written to, so this test runs as another user.
func TestReadOnlyFiles(t *testing.T) {
	if os.Geteuid() == 0 {
		harness.Must(t, "chmod", "0755", filepath.Dir(t.TempDir()))
		asNobody(t, "TestReadOnlyFiles")
		return
	}
	key := newSigner(t)
	for path, modes := range map[string][2]fs.FileMode{"": {0o500, 0o700}, File: {0o400, 0o600}} {
		dir, signatures := filled(t, key, 100)
		if err := os.Chmod(filepath.Join(dir, path), modes[0]); err != nil {
			t.Fatal(err)
		}
		s, w := open(t, dir, Options{})
		storesNothing(t, s, w, key, signatures, "permission denied")
		if err := os.Chmod(filepath.Join(dir, path), modes[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLocked has another process that keeps the database locked: for writers, or for all.
func TestLocked(t *testing.T) {
	key := newSigner(t)
	program := harness.Tool(t, "sqlite3")
	for name, lock := range map[string]string{
		"writers": "BEGIN IMMEDIATE;",
		"all":     "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;",
	} {
		t.Run(name, func(t *testing.T) {
			dir, signatures := filled(t, key, 100)
			hold(t, program, filepath.Join(dir, File), lock)
			if name == "writers" {
				s, w := open(t, dir, Options{patience: 100 * time.Millisecond})
				storesNothing(t, s, w, key, signatures, ErrLocked.Error())
				return
			}
			if _, err := Open(context.Background(), dir, Options{patience: 100 * time.Millisecond}); !errors.Is(err, ErrLocked) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// TestWritersThatFollowEachOther holds the lock of writers for longer than a writer waits, and
// commits in between: a writer that was late waits on.
func TestWritersThatFollowEachOther(t *testing.T) {
	key := newSigner(t)
	dir, _ := filled(t, key, 100)
	const patience = 500 * time.Millisecond
	s, w := open(t, dir, Options{patience: patience})
	other, _ := open(t, dir, Options{})
	ctx := context.Background()
	hold := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 6 { // each for less than patience, together for longer
			err = errors.Join(err, other.db.transaction(ctx, func() error {
				if i == 0 {
					close(hold)
				}
				err := other.db.exec(ctx, "UPDATE signature SET day = ?", 10_000+i)
				time.Sleep(patience * 4 / 5)
				return err
			}))
		}
		done <- err
	}()
	<-hold
	b := key.batch(1000, 1003)
	signatures := key.sign(t, b)
	if kept := s.Put(ctx, b, signatures, nil); !equal(kept, signatures) {
		t.Error("nothing was stored although others made progress")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.Check(t)
}

// TestNetworkFileSystems asks a table, because the kernels that tests run on have no network file system.
func TestNetworkFileSystems(t *testing.T) {
	for magic, name := range map[uint32]string{unix.NFS_SUPER_MAGIC: "NFS", unix.V9FS_MAGIC: "9p", unix.SMB2_SUPER_MAGIC: "SMB2"} {
		if err := network("/mnt/cache", magic); !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "/mnt/cache is on "+name) {
			t.Errorf("%#x: %v", magic, err)
		}
	}
	for _, magic := range []uint32{unix.EXT4_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC} {
		if err := network("/mnt/cache", magic); err != nil {
			t.Error(err)
		}
	}
}

func TestEviction(t *testing.T) {
	key := newSigner(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const limit = 512 << 10
	s, w := open(t, newDir(t), Options{Limit: limit, Now: func() time.Time { return now }})
	ctx := context.Background()
	often := key.batch(0, 500)
	signatures := key.sign(t, often)
	s.Put(ctx, often, signatures, nil)
	many := slices.Repeat(signatures[:100], 6) // nothing verifies them
	for day := range 10 {
		now = now.Add(24 * time.Hour)
		if got := s.Get(ctx, often); !equal(got, signatures) {
			t.Fatalf("day %d: signatures that are used every day were removed", day)
		}
		b := key.batch(1000*(day+1), 1000*(day+1)+600)
		s.Put(ctx, b, many, nil)
		if got := s.Get(ctx, b); !equal(got, many) {
			t.Fatalf("day %d: today's signatures were removed", day)
		}
		if used, err := s.db.used(ctx); err != nil || used > limit*11/10 {
			t.Fatalf("day %d: %d bytes, %v", day, used, err)
		}
	}
	if got := s.Get(ctx, key.batch(1000, 1600)); !equal(got, make([][]byte, 600)) {
		t.Error("the oldest signatures were kept")
	}
	w.Check(t)
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	shrinks(t, s)
}

// shrinks makes a cache smaller, and then empty.
func shrinks(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	before, _ := s.Stats(ctx)
	if n, err := s.Shrink(ctx, 128<<10); err != nil || n == 0 {
		t.Errorf("Shrink: %d %v", n, err)
	}
	after, err := s.Stats(ctx)
	if err != nil || after.Bytes > 192<<10 || after.Entries == 0 || after.Entries >= before.Entries {
		t.Errorf("%+v, then %+v, %v", before, after, err)
	}
	if n, err := s.Shrink(ctx, 0); err != nil || n != after.Entries {
		t.Errorf("Shrink: %d %v", n, err)
	}
	if stats, err := s.Stats(ctx); err != nil || stats.Entries != 0 || len(stats.Keys) != 0 || stats.Bytes > 80<<10 {
		t.Errorf("%+v %v", stats, err)
	}
}
