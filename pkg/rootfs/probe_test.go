package rootfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// refused checks that a probe fails with one error of one line that names the tree, and
// that it changes nothing.
func refused(t *testing.T, tr *Tree, want error) {
	t.Helper()
	was := snapshot(t, tr.tree.Dir(), true)
	err := tr.Probe(t.Context())
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	mentions(t, err, tr.tree.Dir())
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("several lines: %v", err)
	}
	same(t, "the tree", was, snapshot(t, tr.tree.Dir(), true))
}

func TestProbe(t *testing.T) {
	harness.Root(t)
	dir := t.TempDir()
	write(t, dir, "f")
	tr := openTree(t, dir, Options{CrossMounts: true})
	for _, value := range []string{"", "what the root has already"} {
		if value != "" {
			setXattr(t, dir, value)
		}
		was := snapshot(t, dir, true)
		ok(t, tr.Probe(t.Context(), ima.XattrIMA, ima.XattrEVM))
		same(t, "the tree", was, snapshot(t, dir, true))
	}
}

// TestProbeOverlay checks that Probe agrees with the kernel about security.evm on overlayfs.
// Kernels with EVM refuse it there.
func TestProbeOverlay(t *testing.T) {
	layers, dir := t.TempDir(), t.TempDir()
	mount(t, "tmpfs", layers, "tmpfs", 0, "")
	for _, name := range []string{"lower", "upper", "work"} {
		ok(t, os.Mkdir(filepath.Join(layers, name), 0o755))
	}
	write(t, filepath.Join(layers, "lower"), "f")
	mount(t, "overlay", dir, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", layers))
	tr := openTree(t, dir, Options{})
	ok(t, tr.Probe(t.Context()))
	was := snapshot(t, dir, true)
	err := tr.Probe(t.Context(), ima.XattrIMA, ima.XattrEVM)
	same(t, "the tree", was, snapshot(t, dir, true))
	if kernel := unix.Setxattr(filepath.Join(dir, "f"), ima.XattrEVM, exampleOf(ima.XattrEVM), 0); kernel == nil {
		ok(t, err)
	} else if !errors.Is(err, ErrNoEVM) {
		t.Errorf("the kernel says %v, Probe %v", kernel, err)
	}
	// What Probe says where the kernel refuses security.evm.
	root := tr.tree.Root()
	for xattr, want := range map[string]error{ima.XattrEVM: ErrNoEVM, ima.XattrIMA: ErrNotPermitted} {
		if err := tr.explain(root, xattr, unix.EPERM); !errors.Is(err, want) {
			t.Errorf("%s: %v", xattr, err)
		}
	}
	plain := openTree(t, t.TempDir(), Options{})
	if err := plain.explain(plain.tree.Root(), ima.XattrEVM, unix.EPERM); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("not on overlayfs: %v", err)
	}
}

func TestProbeReadOnly(t *testing.T) {
	dir, below := t.TempDir(), t.TempDir()
	write(t, dir, "f")
	mount(t, dir, below, "", unix.MS_BIND, "")
	ok(t, unix.Mount("", below, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	refused(t, openTree(t, below, Options{}), ErrReadOnly)
}

// TestProbeNoXattrs uses ramfs, which does not support xattrs.
func TestProbeNoXattrs(t *testing.T) {
	dir := t.TempDir()
	mount(t, "ramfs", dir, "ramfs", 0, "")
	write(t, dir, "f")
	refused(t, openTree(t, dir, Options{}), ErrNoXattrs)
	// Planning needs no xattrs.
	if paths, reasons := signed(t, dir, Options{}); len(paths) != 1 {
		t.Errorf("would sign %q, %v", paths, reasons)
	}
}

func TestProbeNotPermitted(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Chmod(filepath.Dir(dir), 0o755))
	write(t, dir, "f")
	ok(t, os.Chown(dir, 65534, 65534))
	tr := openTree(t, dir, Options{})
	asNobody(t, func() { refused(t, tr, ErrNotPermitted) })
	setXattr(t, dir, "what the root has already")
	asNobody(t, func() { refused(t, tr, ErrNotPermitted) })
}

// TestProbeUserNamespace uses root in a user namespace that did not mount the file system.
func TestProbeUserNamespace(t *testing.T) {
	if dir := os.Getenv("IMASIGN_TEST_PROBE"); dir != "" {
		refused(t, openTree(t, dir, Options{}), ErrNotPermitted)
		return
	}
	dir := t.TempDir()
	write(t, dir, "f")
	cmd := exec.Command(os.Args[0], "-test.run=^TestProbeUserNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), "IMASIGN_TEST_PROBE="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestProbeUserNamespace") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestProbeCrossesMounts checks that with CrossMounts each mount in the tree is probed,
// even one of the same device as the tree.
func TestProbeCrossesMounts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "source/f", "ro/f", "ram/f")
	mount(t, filepath.Join(dir, "source"), filepath.Join(dir, "ro"), "", unix.MS_BIND, "")
	crossing, staying := openTree(t, dir, Options{CrossMounts: true}), openTree(t, dir, Options{})
	ok(t, crossing.Probe(t.Context()))
	ok(t, unix.Mount("", filepath.Join(dir, "ro"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	refused(t, crossing, ErrReadOnly)
	ok(t, staying.Probe(t.Context()))
	ok(t, unix.Mount("", filepath.Join(dir, "ro"), "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	ok(t, crossing.Probe(t.Context()))
	mount(t, "ramfs", filepath.Join(dir, "ram"), "ramfs", 0, "")
	refused(t, crossing, ErrNoXattrs)
	ok(t, staying.Probe(t.Context()))
}
