package input

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Spool makes an empty file in dir, "" for os.TempDir, to write and to read. It never
// has a name, so that no ending of the process leaves it behind; where the file system
// has no O_TMPFILE (NFS, 9p, some overlays) it has one for a moment. Its Name, for
// errors, is in dir and leads nowhere.
func Spool(dir string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	if fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "(temporary file)")), nil
	}
	f, err := os.CreateTemp(dir, "imasign-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
