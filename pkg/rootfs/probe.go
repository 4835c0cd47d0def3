package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Probe checks whether the xattrs with these names can be set in the tree, without changing
// anything. Without names it checks security.ima. It tests the tree's root directory and,
// with Options.CrossMounts, one directory of each mount. Prepare does not probe again what
// Probe has checked. Errors wrap [ErrNoXattrs], [ErrNoEVM], [ErrNotPermitted],
// [ErrReadOnly], or the system's error.
func (t *Tree) Probe(ctx context.Context, xattrs ...string) error {
	if len(xattrs) == 0 {
		xattrs = []string{ima.XattrIMA}
	}
	err := t.probeAll(ctx, xattrs)
	if t.probed = nil; err == nil {
		t.probed = xattrs
	}
	return err
}

func (t *Tree) probeAll(ctx context.Context, xattrs []string) error {
	if err := t.probe(t.tree.Root(), ".", xattrs); err != nil {
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
		if err := errors.Join(t.probe(dir, node.Path, xattrs), dir.Close()); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (t *Tree) probe(dir *os.File, path string, xattrs []string) error {
	for _, name := range xattrs {
		if err := t.tree.ProbeXattr(dir, path, name, exampleOf(name)); err != nil {
			return t.explain(dir, name, err)
		}
	}
	return nil
}

// exampleOf returns a value of the xattr that the kernel accepts. Kernels with EVM check
// the type of a new security.evm.
func exampleOf(xattr string) []byte {
	value := ima.DigestValue(ima.SHA256, make([]byte, ima.SHA256.Size()))
	if xattr == ima.XattrEVM {
		value[0] = byte(ima.PortableSignature().Type)
	}
	return value
}

// explain turns the system's error into one that says what it means here.
func (t *Tree) explain(dir *os.File, xattr string, err error) error {
	path := dir.Name()
	switch {
	case t.tree.Preload() != "" && errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w: %s does not cover this directory (PSEUDO_IGNORE_PATHS?) or is disabled", path, ErrNotPermitted, t.tree.Preload())
	case xattr == ima.XattrEVM && errors.Is(err, unix.EPERM) && isOverlay(dir):
		return fmt.Errorf("%s: %w: this kernel does not set it through overlayfs", path, ErrNoEVM)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w: this needs CAP_SYS_ADMIN in the user namespace that mounted the file system (root, but not root in a rootless container)", path, ErrNotPermitted)
	case errors.Is(err, unix.ENOTSUP):
		return fmt.Errorf("%s: %w (like vfat, NFS and some FUSE and tmpfs file systems)", path, ErrNoXattrs)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w", path, ErrReadOnly)
	}
	return fmt.Errorf("%s: check whether %s can be set: %w", path, xattr, err)
}

func isOverlay(dir *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(dir.Fd()), &st) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC
}
