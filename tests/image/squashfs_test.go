package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestSquashfsPipelines signs a squashfs by the pipelines of docs/image.md. Nothing may
// differ but the signatures.
func TestSquashfsPipelines(t *testing.T) {
	// mksquashfs drops ACLs, and some hard links of symbolic links.
	tree := imagetree.Tiny(t, imagetree.ACLs, imagetree.LinkedSymlinks)
	removeSockets(t, tree) // archives have none
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(t.TempDir(), "original")
	harness.Must(t, "mksquashfs", tree, original, "-quiet", "-no-progress")
	want := listImage(t, original)
	keys := harness.Keys(t, "p256")
	sign := fmt.Sprintf("%s tar sign --key %s/x509_ima.key --cert %[2]s/x509_ima.crt --force - -o -", harness.Program(t), keys)
	for _, pipeline := range []string{
		"sqfs2tar --no-skip IMAGE | SIGN | sqfstar -root-mode 0755 OUT",
		"sqfs2tar --no-skip IMAGE | SIGN | sqfstar -root-mode 0755 -comp zstd -b 1M OUT",
		"sqfs2tar --no-skip --root-becomes . IMAGE | SIGN | tar2sqfs --quiet OUT",
	} {
		t.Run(pipeline, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "signed")
			harness.Must(t, "bash", "-euo", "pipefail", "-c", strings.NewReplacer("IMAGE", original, "SIGN", sign, "OUT", out).Replace(pipeline))
			mounted := imagetree.Mount(t, out)
			var root unix.Stat_t
			if err := unix.Stat(mounted, &root); err != nil || root.Mode != unix.S_IFDIR|0o755 {
				t.Errorf("the root has the mode %o, %v", root.Mode, err)
			}
			imagetree.Same(t, want, unsigned(t, imagetree.List(t, mounted)))
			harness.Must(t, harness.Program(t), "image", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), out)
		})
	}
}

// TestTargetCutBySqfstar makes the image that sqfstar 4.5.1 spoils: it cuts "../" off the
// start of long targets in pax archives.
func TestTargetCutBySqfstar(t *testing.T) {
	keys, dir := harness.Keys(t, "p256"), t.TempDir()
	tree, manifest, image := filepath.Join(dir, "tree"), filepath.Join(dir, "manifest"), filepath.Join(dir, "image")
	check(t, os.Mkdir(tree, 0o755))
	check(t, os.WriteFile(filepath.Join(tree, "file"), []byte("x"), 0o644))
	target := "../" + strings.Repeat("x", 150)
	check(t, os.Symlink(target, filepath.Join(tree, "link")))
	harness.Sign(t, keys, tree, "--manifest", manifest)
	harness.Must(t, "bash", "-euo", "pipefail", "-c",
		fmt.Sprintf("tar --format=pax --xattrs --xattrs-include='*' -C %s -c file link | sqfstar %s >%s.log", tree, image, image))
	r := harness.Run(t, harness.Program(t), "image", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), "--manifest", manifest, image)
	if want := "it points to " + target[3:] + ", not " + target; r.Code != 3 || !strings.Contains(r.Out, want) {
		t.Errorf("exit %d, want 3 and %q\n%s%s", r.Code, want, r.Out, r.Err)
	}
}

// listImage lists what the kernel shows of an image, without signatures.
func listImage(t *testing.T, image string) []imagetree.File {
	t.Helper()
	mounted := imagetree.Mount(t, image)
	defer imagetree.Unmount(t, mounted)
	files := imagetree.List(t, mounted)
	for _, f := range files {
		delete(f.Xattrs, "security.ima")
	}
	return files
}

// unsigned removes the signatures, which all regular files must have and no others.
func unsigned(t *testing.T, files []imagetree.File) []imagetree.File {
	t.Helper()
	for _, f := range files {
		_, signed := f.Xattrs["security.ima"]
		if regular := f.Mode&unix.S_IFMT == unix.S_IFREG; signed != regular {
			t.Errorf("%q: signed: %v", f.Path, signed)
		}
	}
	for _, f := range files { // names of a hard link share the map
		delete(f.Xattrs, "security.ima")
	}
	return files
}

// removeSockets removes the sockets of a tree.
func removeSockets(t *testing.T, tree string) {
	t.Helper()
	for _, f := range imagetree.List(t, tree) {
		if f.Mode&unix.S_IFMT != unix.S_IFSOCK {
			continue
		}
		if err := os.Remove(filepath.Join(tree, f.Path)); err != nil {
			t.Fatal(err)
		}
	}
}
