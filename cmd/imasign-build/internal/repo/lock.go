package repo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockSite keeps other runs away from a site and its repositories until unlock. Runs that
// change nothing there can work at the same time.
func (r *task) lockSite(s *site, change bool) (unlock func(), err error) {
	how := unix.LOCK_SH
	if change {
		how = unix.LOCK_EX
	}
	var unlocks []func()
	unlock = func() {
		for _, f := range unlocks {
			f()
		}
	}
	dirs := []string{r.Dir}
	for _, p := range s.repositories {
		if p.rel != "." {
			dirs = append(dirs, filepath.Join(r.Dir, p.rel))
		}
	}
	for _, dir := range dirs {
		one, err := r.lock(dir, how)
		if err != nil {
			unlock()
			return nil, err
		}
		unlocks = append(unlocks, one)
	}
	return unlock, nil
}

// lock locks one directory. If the file system has no locks, as NFS, it warns.
func (r *task) lock(dir string, how int) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(d.Fd()), how|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK), err == nil && !isAt(d, dir):
		_ = d.Close()
		return nil, fmt.Errorf("work on %s: %w", dir, ErrBusy)
	case err != nil:
		r.warn(fmt.Sprintf("%s cannot be locked (%v): make sure that no other run works on it", dir, err))
	}
	return func() { _ = d.Close() }, nil
}

// isAt reports whether an open directory is still the one at path. The run that had the lock
// may have published it in the meantime.
func isAt(d *os.File, path string) bool {
	a, err := d.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}
