package atomicfile

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/imasign/imasign-build/internal/libc"
	"github.com/imasign/imasign-build/internal/stmode"
)

// preloaded reports whether a preloaded library (pseudo or fakeroot) tracks files.
func preloaded() bool { return libc.Linked && libc.Preload() != "" }

// tracked is an output whose names are changed through the C library, so that pseudo or
// fakeroot notices. Content is written by system calls, because neither tracks it.
type tracked struct {
	file              *os.File
	temporary, target string // absolute
	fresh             bool
}

// beginTracked makes the temporary file through the C library, so that it belongs to the
// pretended user, and opens it.
func beginTracked(target string, perm fs.FileMode, isNew bool) (*File, error) {
	absolute, err := filepath.Abs(target)
	if err != nil {
		return nil, err
	}
	for range 1000 {
		t := &tracked{target: absolute, fresh: isNew}
		t.temporary = filepath.Join(filepath.Dir(absolute), ".imasign-build-"+strconv.FormatUint(rand.Uint64(), 36)) //nolint:gosec // a free name, no secret
		err = libc.Create(t.temporary, uint32(perm.Perm()))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if t.file, err = os.OpenFile(t.temporary, os.O_RDWR, 0); err != nil {
			return nil, errors.Join(err, libc.Unlink(t.temporary))
		}
		return &File{file: t.file, out: t, target: target}, nil
	}
	return nil, err
}

func (t *tracked) publish() error {
	if err := errors.Join(t.file.Sync(), t.file.Close()); err != nil {
		return err
	}
	if !t.fresh {
		return libc.Rename(t.temporary, t.target)
	}
	// Making a hard link fails if the name exists. pseudo does not support RENAME_NOREPLACE.
	if err := libc.Link(t.temporary, t.target); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return err
	}
	return libc.Unlink(t.temporary)
}

func (t *tracked) discard() error {
	err := t.file.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, libc.Unlink(t.temporary))
}

func lstatTracked(path string) (attributes, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return attributes{}, err
	}
	st, err := libc.Lstat(absolute)
	if err != nil {
		return attributes{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return attributes{stmode.FileMode(st.Mode), st.UID, st.GID}, nil
}

func (f *File) chownTracked(uid, gid int) error {
	return libc.Chown(f.file.Name(), uint32(uid), uint32(gid))
}

func (f *File) chmodTracked(mode fs.FileMode) error {
	return libc.Chmod(f.file.Name(), stmode.Permissions(mode))
}
