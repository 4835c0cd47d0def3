package image

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestAgreesWithEvmctl compares verdicts about an image with those of evmctl about its
// mount, and key ids with those in the xattrs that the kernel shows.
func TestAgreesWithEvmctl(t *testing.T) {
	l := newLab(t, kept...)
	tree := filepath.Join(t.TempDir(), "tree")
	harness.Must(t, "cp", "-a", l.tree, tree)
	check(t, unix.Lremovexattr(filepath.Join(tree, "sizes/100"), "security.ima"))
	check(t, unix.Truncate(filepath.Join(tree, "sizes/161"), 100))
	for _, f := range []format{plain[0], compressed[0], compressed[2]} {
		t.Run(f.name, func(t *testing.T) {
			image := l.image(t, f, tree)
			v := l.verify(t, image, "--verbose")
			mounted := imagetree.Mount(t, image)
			files := harness.Files(t, mounted)
			refused := harness.Refused(t, filepath.Join(l.keys, "x509_ima.der"), files)
			for _, file := range files {
				path, err := filepath.Rel(mounted, file)
				check(t, err)
				e := v.entries[path]
				if (e.Status == "ok") == slices.Contains(refused, file) {
					t.Errorf("%q: %s, evmctl says otherwise", path, e.Status)
				}
				value := make([]byte, 1024)
				n, _ := unix.Lgetxattr(file, "security.ima", value) // without one, n is -1
				if id := keyID(value[:max(n, 0)]); e.Status == "ok" && e.KeyID != id {
					t.Errorf("%q: key id %s, the kernel shows %s", path, e.KeyID, id)
				}
			}
			if len(files) < 200 || len(refused) != 2 || v.Code != 3 {
				t.Errorf("%d files, evmctl refuses %q, exit %d", len(files), refused, v.Code)
			}
		})
	}
}

// keyID returns the key id in a signature.
func keyID(value []byte) string {
	if len(value) < 7 || value[0] != 3 {
		return ""
	}
	return fmt.Sprintf("%x", value[3:7])
}
