package input

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Spool makes an empty file in dir, or in os.TempDir if dir is "", for writing and reading.
// The file has no name, so it disappears with the process, however the process ends. If the
// file system does not support O_TMPFILE (NFS, 9p, some overlays), it has a name for a
// moment. Its Name is only for errors: that path does not exist.
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
