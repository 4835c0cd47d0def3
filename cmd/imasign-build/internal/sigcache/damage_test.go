package sigcache

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// filled makes a cache with n signatures, closes it, and returns its directory.
func filled(t testing.TB, key *signer, n int) (dir string, signatures [][]byte) {
	t.Helper()
	dir = newDir(t)
	s, _ := open(t, dir, Options{})
	b := key.batch(0, n)
	signatures = key.sign(t, b)
	if kept := s.Put(context.Background(), b, signatures, nil); !equal(kept, signatures) {
		t.Fatal("Put did not keep the signatures")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, signatures
}

// execute runs SQL on a database as another program would.
func execute(t testing.TB, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

// works fails the test unless a cache finds what it stores.
func works(t testing.TB, s *Store, key *signer) {
	t.Helper()
	b := key.batch(1000, 1010)
	kept := s.Put(context.Background(), b, key.sign(t, b), nil)
	if got := s.Get(context.Background(), b); slices.ContainsFunc(kept, func(s []byte) bool { return s == nil }) || !equal(got, kept) {
		t.Error("the new cache stores nothing, or does not find it")
	}
	if err := s.Check(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestDamagedDatabasesAreStartedAnew(t *testing.T) {
	key := newSigner(t)
	for name, damage := range map[string]func(path string) error{
		"text":      func(path string) error { return os.WriteFile(path, []byte("This is not a database.\n"), 0o600) },
		"zeros":     func(path string) error { return os.WriteFile(path, make([]byte, 8192), 0o600) },
		"truncated": func(path string) error { return os.Truncate(path, 5000) },
		"no schema": func(path string) error { return overwrite(path, 100, make([]byte, 3996)) },
		"a trigger": func(path string) error {
			execute(t, path, "CREATE TRIGGER t AFTER INSERT ON signature BEGIN DELETE FROM signature; END")
			return nil
		},
		"a view": func(path string) error {
			execute(t, path, "ALTER TABLE signature RENAME TO s; CREATE VIEW signature AS SELECT * FROM s")
			return nil
		},
		"a column":           func(path string) error { execute(t, path, "ALTER TABLE signature ADD x INTEGER"); return nil },
		"statistics":         func(path string) error { execute(t, path, "ANALYZE"); return nil },
		"version 0":          func(path string) error { execute(t, path, "PRAGMA user_version = 0"); return nil },
		"version -1":         func(path string) error { execute(t, path, "PRAGMA user_version = -1"); return nil },
		"a rollback journal": func(path string) error { execute(t, path, "PRAGMA journal_mode = DELETE"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := filled(t, key, 200)
			path := filepath.Join(dir, File)
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(context.Background(), dir, Options{Keep: true}); !errors.Is(err, ErrDamaged) {
				t.Errorf("to be kept: %v", err)
			}
			s, w := open(t, dir, Options{})
			w.Check(t, path, "damaged", path+".damaged")
			if aside, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(aside, before) {
				t.Errorf("the file was not put aside: %v", err)
			}
			works(t, s, key)
			w.Check(t)
			again, w := open(t, dir, Options{})
			works(t, again, key)
			w.Check(t)
		})
	}
}

func overwrite(path string, offset int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	return errors.Join(err, f.Close())
}

// TestDamageInUse damages the pages of a database that is open: signing continues with a new
// one, and the process that still has the old one open does not harm it.
func TestDamageInUse(t *testing.T) {
	key := newSigner(t)
	dir, signatures := filled(t, key, 2000)
	ctx, b := context.Background(), key.batch(0, 2000)
	other, otherWarnings := open(t, dir, Options{})
	if got := other.Get(ctx, b); !equal(got, signatures) {
		t.Fatal("the cache has not everything")
	}
	info, err := os.Stat(other.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := overwrite(other.Path(), 4096, bytes.Repeat([]byte{0xa5}, int(info.Size())-4096)); err != nil {
		t.Fatal(err)
	}
	s, w := open(t, dir, Options{})
	w.Check(t) // its schema is sound
	if got := s.Get(ctx, b); !equal(got, make([][]byte, 2000)) {
		t.Error("a damaged database returned signatures")
	}
	w.Check(t, "damaged", s.Path()+".damaged")
	if kept := s.Put(ctx, b, signatures, nil); !equal(kept, signatures) {
		t.Error("the new database does not keep signatures")
	}
	// The other process still writes to the old one, and closes it, or finds the damage, too.
	more := key.batch(2000, 2100)
	other.Put(ctx, more, key.sign(t, more), nil)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	otherWarnings.Check(t)
	third, w := open(t, dir, Options{})
	if got := third.Get(ctx, b); !equal(got, signatures) {
		t.Error("the new database lost signatures")
	}
	for _, s := range []*Store{s, third} {
		if err := s.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	w.Check(t)
}

func TestCheckFindsDamage(t *testing.T) {
	key := newSigner(t)
	for _, keep := range []bool{true, false} {
		dir, _ := filled(t, key, 2000)
		if err := overwrite(filepath.Join(dir, File), 40*4096, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		s, w := open(t, dir, Options{Keep: keep})
		if err := s.Check(context.Background()); !errors.Is(err, ErrDamaged) {
			t.Errorf("keep %v: %v", keep, err)
		}
		if keep {
			w.Check(t)
			continue
		}
		w.Check(t, "damaged")
		works(t, s, key)
	}
}

func TestWhatIsNoCacheIsRefused(t *testing.T) {
	key := newSigner(t)
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string) error
		want error
	}{
		{"a newer version", func(t *testing.T, path string) error {
			execute(t, path, "CREATE TABLE more (a); PRAGMA user_version = 2")
			return nil
		}, ErrNewer},
		{"another program's", func(t *testing.T, path string) error {
			execute(t, path, "PRAGMA application_id = 7")
			return nil
		}, ErrForeign},
		{"a database without a mark", func(t *testing.T, path string) error {
			_ = os.Remove(path)
			execute(t, path, "CREATE TABLE a (b)")
			return nil
		}, ErrForeign},
		{"a symlink", func(t *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+".real"), os.Symlink(File+".real", path))
		}, ErrUnsafe},
		{"a log that is a symlink", func(t *testing.T, path string) error {
			return errors.Join(os.Remove(path+"-wal"), os.Symlink("victim", path+"-wal"))
		}, ErrUnsafe},
		{"a FIFO", func(t *testing.T, path string) error {
			return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
		}, ErrUnsafe},
		{"a directory", func(t *testing.T, path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		}, ErrUnsafe},
		{"a directory that all can write to", func(t *testing.T, path string) error {
			return os.Chmod(filepath.Dir(path), 0o1777)
		}, ErrUnsafe},
		{"a device", func(t *testing.T, path string) error {
			harness.Root(t)
			return errors.Join(os.Remove(path), unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 7))))
		}, ErrUnsafe},
		{"another user's file", func(t *testing.T, path string) error { harness.Root(t); return os.Chown(path, 12345, 0) }, ErrUnsafe},
		{"another user's directory", func(t *testing.T, path string) error {
			harness.Root(t)
			return os.Chown(filepath.Dir(path), 12345, 0)
		}, ErrUnsafe},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := filled(t, key, 10)
			path := filepath.Join(dir, File)
			if err := c.make(t, path); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			if s, err := Open(context.Background(), dir, Options{}); !errors.Is(err, c.want) {
				t.Errorf("Open: %v %v", s, err)
			}
			w := &harness.Warnings{}
			s, err := newStore(dir, Options{Warn: w.Add})
			if err != nil {
				t.Fatal(err)
			}
			b := key.batch(0, 10)
			if got := s.Get(context.Background(), b); !equal(got, make([][]byte, 10)) {
				t.Error("Get returned signatures")
			}
			if kept := s.Put(context.Background(), b, key.sign(t, b), nil); !equal(kept, make([][]byte, 10)) {
				t.Error("Put kept signatures")
			}
			w.Check(t, dir, c.want.Error())
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("files were changed: %v, then %v", before, after)
			}
		})
	}
}

// listing returns names, types and owners of files. SQLite may truncate its own log.
func listing(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name()+" "+e.Type().String())
	}
	return list
}

// TestNewerProgramWhileInUse changes the tables while the database is open, as a newer program
// may do.
func TestNewerProgramWhileInUse(t *testing.T) {
	key := newSigner(t)
	dir, signatures := filled(t, key, 100)
	s, w := open(t, dir, Options{})
	b := key.batch(0, 100)
	if got := s.Get(context.Background(), b); !equal(got, signatures) {
		t.Error("the cache has not everything")
	}
	execute(t, s.Path(), "ALTER TABLE signature RENAME TO signature2; PRAGMA user_version = 2")
	if got := s.Get(context.Background(), b); !equal(got, make([][]byte, 100)) {
		t.Error("Get returned signatures")
	}
	w.Check(t, s.Path(), ErrNewer.Error())
	if files := listing(t, dir); files[0] != File+" ----------" || slices.Contains(files, File+".damaged ----------") {
		t.Errorf("the database was put aside: %v", files)
	}
}
