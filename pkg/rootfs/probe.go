package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Probe fails with one clear error when security.ima cannot be set in the tree, and
// changes nothing to find out: it asks for the tree's root directory and, where mounts
// are crossed, for one directory of each mount. After it succeeded, Prepare does not ask
// again. Errors wrap ErrNoXattrs, ErrNotPermitted, ErrReadOnly, or what the system
// answered.
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
	// One device may be mounted twice, read-only here and writable there.
	type mount struct{ id, dev uint64 }
	probed := map[mount]bool{}
	for node, err := range t.tree.Walk(ctx) {
		m := mount{node.Mount, node.Stamp.Dev}
		if err != nil || !node.Mode.IsDir() || probed[m] {
			continue // what cannot be walked is the plan's to report
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

// explain turns the kernel's answer into what it means.
func (t *Tree) explain(path string, err error) error {
	switch {
	case t.tree.Preload() != "" && errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: %s does not cover this directory (PSEUDO_IGNORE_PATHS?) or is disabled", path, ErrNotPermitted, t.tree.Preload())
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: it takes CAP_SYS_ADMIN in the user namespace that mounted the file system (root, not root in a rootless container)", path, ErrNotPermitted)
	case errors.Is(err, unix.ENOTSUP):
		return fmt.Errorf("%s: %w (vfat, NFS and some FUSE and tmpfs do not)", path, ErrNoXattrs)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w", path, ErrReadOnly)
	}
	return fmt.Errorf("%s: probe whether security.ima can be set: %w", path, err)
}
