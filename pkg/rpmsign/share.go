package rpmsign

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/input"
)

// LinkOrCopy makes to, which must not exist, the same file as from: by a hard
// link, or where that cannot be (another file system, no permission) a copy with
// its mode and mtime.
func LinkOrCopy(from, to string) error {
	err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EMLINK) {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: err}
	}
	source, err := input.Regular(from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // opened for reading
	info, err := source.Stat()
	if err != nil {
		return err
	}
	f, err := atomicfile.CreateNew(to, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.ReadFrom(source); err != nil {
		return err
	}
	if err := f.SetModTime(info.ModTime()); err != nil {
		return err
	}
	return f.Commit()
}

// shareUnchanged puts a package that needs no new signature header to its output,
// and reports false where something is there already, to be replaced by a copy.
func (p *Package) shareUnchanged() (done bool, err error) {
	there, err := os.Stat(p.options.Output)
	if err == nil && os.SameFile(there, p.stat) {
		return true, nil
	}
	err = LinkOrCopy(p.path, p.options.Output)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// newModTime is the mtime of a package that is written: now, but never in the same
// second as the old one, by which createrepo_c --update, make and rsync would take
// the file for the old one if it kept its size.
func (p *Package) newModTime(now time.Time) time.Time {
	if old := p.stat.ModTime(); now.Unix() <= old.Unix() {
		return time.Unix(old.Unix()+1, 0)
	}
	return now
}
