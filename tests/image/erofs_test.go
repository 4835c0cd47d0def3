package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestErofsPipeline makes a signed erofs from a signed archive, as docs/image.md has it for
// mkfs.erofs 1.5. Nothing may differ but the signatures.
func TestErofsPipeline(t *testing.T) {
	tree := imagetree.Tiny(t, imagetree.LongestNames)
	removeSockets(t, tree)                                      // archives have none
	for _, name := range []string{"links/null", "links/fifo"} { // GNU tar makes files of their own
		check(t, os.Remove(filepath.Join(tree, name)))
	}
	original := filepath.Join(t.TempDir(), "original")
	harness.Must(t, "mkfs.erofs", "--quiet", original, tree)
	want := listImage(t, original)
	keys := harness.Keys(t, "p256")
	sign := fmt.Sprintf("%s tar sign --key %s/x509_ima.key --cert %[2]s/x509_ima.crt --force - -o -", harness.Program(t), keys)
	signed, out := filepath.Join(t.TempDir(), "signed"), filepath.Join(t.TempDir(), "signed.erofs")
	check(t, os.Mkdir(signed, 0o755))
	pipeline := `tar --xattrs --xattrs-include='*' --numeric-owner -C TREE -c . | SIGN |
		tar --xattrs --xattrs-include='*' --numeric-owner -C SIGNED -xp && mkfs.erofs --quiet -zlz4hc OUT SIGNED`
	harness.Must(t, "bash", "-euo", "pipefail", "-c", strings.NewReplacer("TREE", tree, "SIGNED", signed, "SIGN", sign, "OUT", out).Replace(pipeline))
	imagetree.Same(t, want, unsigned(t, imagetree.List(t, imagetree.Mount(t, out))))
	harness.Must(t, harness.Program(t), "image", "verify", "--cert", filepath.Join(keys, "x509_ima.crt"), out)
}
