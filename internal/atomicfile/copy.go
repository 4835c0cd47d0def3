package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/input"
)

// LinkOrCopy makes the file to, which must not exist, a hard link of from. If that is
// impossible (another file system, no permission), it makes a copy with the same mode and
// mtime.
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
	f, err := CreateNew(to, info.Mode().Perm())
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
