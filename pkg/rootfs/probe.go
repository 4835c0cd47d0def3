package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Probe checks whether security.ima can be set in the tree, without changing anything. It
// tests the tree's root directory and, with Options.CrossMounts, one directory of each
// mount. After Probe has succeeded, Prepare does not probe again. Errors wrap
// [ErrNoXattrs], [ErrNotPermitted], [ErrReadOnly], or the system's error.
func (t *Tree) Probe(ctx context.Context) error {
	err := t.probeAll(ctx)
	t.probed = err == nil
	return err
}

func (t *Tree) probeAll(ctx context.Context) error {
	if err := t.probe(t.tree.Root(), "."); err != nil {
		return err
	}
	if !t.crossMounts {
		return nil
	}
	// One device may be mounted twice, once read-only and once writable.
	type mount struct{ id, dev uint64 }
	probed := map[mount]bool{}
	for node, err := range t.tree.Walk(ctx) {
		m := mount{node.Mount, node.Stamp.Dev}
		if err != nil || !node.Mode.IsDir() || probed[m] {
			continue // the plan reports entries that cannot be walked
		}
		probed[m] = true
		dir, err := t.tree.OpenDir(node.Path)
		if err != nil {
			return err
		}
		if err := errors.Join(t.probe(dir, node.Path), dir.Close()); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (t *Tree) probe(dir *os.File, path string) error {
	example := ima.DigestValue(ima.SHA256, make([]byte, ima.SHA256.Size()))
	err := t.tree.ProbeXattr(dir, path, ima.XattrIMA, example)
	if err == nil {
		return nil
	}
	return t.explain(dir.Name(), err)
}

// explain turns the system's error into one that says what it means here.
func (t *Tree) explain(path string, err error) error {
	switch {
	case t.tree.Preload() != "" && errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: %s does not cover this directory (PSEUDO_IGNORE_PATHS?) or is disabled", path, ErrNotPermitted, t.tree.Preload())
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: this needs CAP_SYS_ADMIN in the user namespace that mounted the file system (root, but not root in a rootless container)", path, ErrNotPermitted)
	case errors.Is(err, unix.ENOTSUP):
		return fmt.Errorf("%s: %w (like vfat, NFS and some FUSE and tmpfs file systems)", path, ErrNoXattrs)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w", path, ErrReadOnly)
	}
	return fmt.Errorf("%s: check whether security.ima can be set: %w", path, err)
}
