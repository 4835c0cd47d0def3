package sigcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

// suffixes are what SQLite appends to the name of a database for its other files. Those that
// running processes share come first: the index of the log, then the log. See putAside.
func suffixes() []string { return []string{"-shm", "-wal", "-journal", ""} }

// makePlace makes the directory of the cache and refuses directories and files that cannot be
// used, or that others could exchange.
func (s *Store) makePlace() error {
	if !s.options.Existing {
		if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make directory of cache: %w", err)
		}
	}
	info, err := os.Stat(s.dir)
	switch {
	case err != nil:
		return fmt.Errorf("open cache: %w", err)
	case !info.IsDir():
		return fmt.Errorf("open cache %s: %w", s.dir, unix.ENOTDIR)
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case owner != 0 && owner != os.Geteuid():
		return fmt.Errorf("cache %s belongs to user %d: %w; name a directory of your own", s.dir, owner, ErrUnsafe)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("every user can write to cache %s: %w; name a directory inside it", s.dir, ErrUnsafe)
	}
	return s.checkNetwork()
}

// checkFiles refuses whatever is in the place of a file of the database. It reports whether the
// database exists.
func (s *Store) checkFiles() (exists bool, err error) {
	for _, suffix := range suffixes() {
		path := s.Path() + suffix
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("open cache: %w", err)
		}
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		switch {
		case !info.Mode().IsRegular():
			return false, fmt.Errorf("file %s of the cache is not a regular file: %w; name another cache", path, ErrUnsafe)
		case owner != os.Geteuid():
			return false, fmt.Errorf("file %s of the cache belongs to user %d: %w; name another cache", path, owner, ErrUnsafe)
		}
		exists = exists || suffix == ""
	}
	if !exists && s.options.Existing {
		return false, fmt.Errorf("open cache: %w", &fs.PathError{Op: "open", Path: s.Path(), Err: fs.ErrNotExist})
	}
	return exists, nil
}

// unwritable returns why the cache can only be read, or nil.
func (s *Store) unwritable() error {
	for _, path := range []string{s.dir, s.Path()} {
		err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &fs.PathError{Op: "write to", Path: path, Err: err}
		}
	}
	return nil
}

// networks are the magic numbers of file systems that several machines share, from statfs(2),
// linux/magic.h and the file systems' sources. SQLite's index of the log is shared memory,
// which exists on one machine only.
//
// FUSE is not among them, because it does not tell whether it is local: rootless containers
// lie on fuse-overlayfs. Where it has no shared memory, opening the database fails.
func networks() map[uint32]string {
	return map[uint32]string{
		0x6969:     "NFS",
		0x517b:     "SMB",
		0xff534d42: "CIFS",
		0xfe534d42: "SMB2",
		0x5346414f: "AFS",
		0x6b414653: "AFS",
		0x73757245: "Coda",
		0x00c36400: "Ceph",
		0x0bd00bd0: "Lustre",
		0x47504653: "GPFS",
		0x01021997: "9p",
		0x7461636f: "OCFS2",
		0x01161970: "GFS2",
		0x19830326: "BeeGFS",
		0xaad7aaea: "PanFS",
		0x20030528: "OrangeFS",
		0x0000564c: "NCP",
		0x786f4256: "vboxsf",
		0xbacbacbc: "vmhgfs",
	}
}

func (s *Store) checkNetwork() error {
	var info unix.Statfs_t
	if err := unix.Statfs(s.dir, &info); err != nil {
		return &fs.PathError{Op: "statfs", Path: s.dir, Err: err}
	}
	return network(s.dir, uint32(info.Type))
}

// network returns an error if a magic number is that of a network file system.
func network(dir string, magic uint32) error {
	if name, is := networks()[magic]; is {
		return fmt.Errorf("cache %s is on %s: %w", dir, name, ErrNetwork)
	}
	return nil
}

// explain adds what SQLite's error messages leave out: that the disk is full.
func (s *Store) explain(err error) error {
	var info unix.Statfs_t
	if codeOf(err) == sqlite3.SQLITE_IOERR && unix.Statfs(s.dir, &info) == nil && info.Bavail == 0 {
		return fmt.Errorf("%w: %w", unix.ENOSPC, err)
	}
	return err
}

// lock locks the directory of the cache: shared while a database is opened, exclusive while one
// is made or put aside. The lock says nothing about databases that are already open.
func (s *Store) lock(ctx context.Context, how int) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.patience, ErrLocked)
	defer cancel()
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	for {
		err := unix.Flock(int(dir.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = dir.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			_ = dir.Close()
			return nil, fmt.Errorf("lock cache: %w", &fs.PathError{Op: "flock", Path: s.dir, Err: err})
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			_ = dir.Close()
			return nil, fmt.Errorf("lock cache %s: %w", s.dir, context.Cause(ctx))
		}
	}
}

// identity tells files with the same name apart.
type identity struct{ device, inode uint64 }

// identify returns the identity of the database, zero if there is none.
func (s *Store) identify() identity {
	var info unix.Stat_t
	if unix.Lstat(s.Path(), &info) != nil {
		return identity{}
	}
	return identity{info.Dev, info.Ino}
}

// aside returns the path that a damaged database gets.
func (s *Store) aside() string { return filepath.Join(s.dir, File+".damaged") }

// putAside renames the database and removes its other files, under an exclusive lock. Processes
// that have it open go on with the files that they have opened: SQLite neither
// removes nor copies anything when it closes a database that was renamed, and these
// connections keep their logs anyway (see persist).
//
// The database is last: without it, a process could make a new one and share the old files
// with those that use the old database. If this is interrupted, the damaged database is still
// there to be put aside.
func (s *Store) putAside() error {
	for _, suffix := range suffixes() {
		var err error
		if suffix == "" {
			err = os.Rename(s.Path(), s.aside())
		} else {
			err = os.Remove(s.Path() + suffix)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put damaged cache aside: %w", err)
		}
	}
	return nil
}
