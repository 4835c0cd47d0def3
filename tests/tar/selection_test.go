package tar

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// linkSelections are flags that select some names of the hard link in linkTree, and whether
// the file is signed then.
var linkSelections = map[string]struct {
	flags  []string
	signed bool
}{
	"all":                {nil, true},
	"first excluded":     {[]string{"--exclude=first"}, true},
	"last excluded":      {[]string{"--exclude=third"}, true},
	"only the last":      {[]string{"--include=/d/third", "--include=other"}, true},
	"all excluded":       {[]string{"--exclude=first", "--exclude=module.ko", "--exclude=second", "--exclude=third"}, false},
	"executable by name": {[]string{"--select=executable"}, true},
}

// linkTree makes a tree with a file of four names in d, one of which is that of a kernel
// module, and another file.
func linkTree(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	check(t, os.Mkdir(filepath.Join(tree, "d"), 0o755))
	first := filepath.Join(tree, "d/first")
	write(t, first, "content")
	check(t, os.Link(first, filepath.Join(tree, "d/module.ko")))
	check(t, os.Link(first, filepath.Join(tree, "d/second")))
	check(t, os.Link(first, filepath.Join(tree, "d/third")))
	write(t, filepath.Join(tree, "d/other"), "other")
	return tree
}

var linkNames = []string{"d/other", "d/first", "d/module.ko", "d/second", "d/third"} // in the order of the archives

// wantLinks checks that the names below dir share one signature, or have none.
func wantLinks(t *testing.T, keys keySet, dir string, signed bool) {
	t.Helper()
	var files []string
	for _, name := range linkNames[1:] {
		files = append(files, filepath.Join(dir, name))
	}
	bad := harness.Refused(t, filepath.Join(string(keys), "x509_ima.der"), files)
	if signed && len(bad) > 0 || !signed && len(bad) < len(files) {
		t.Errorf("signed %t, evmctl refuses %q", signed, bad)
	}
	if n := len(harness.Inodes(t, dir)); n != 2 {
		t.Errorf("%d inodes", n)
	}
}

// TestLinksInPart selects some names of a hard link: in a tree, in archives made by two
// programs, while creating an archive, and in a layer.
func TestLinksInPart(t *testing.T) {
	keys := newKeys(t)
	harness.Tool(t, "bsdtar")
	for name, c := range linkSelections {
		t.Run(name, func(t *testing.T) {
			t.Run("tree", func(t *testing.T) {
				tree := linkTree(t)
				keys.sign(t, []string{"rootfs", "sign"}, append(slices.Clone(c.flags), tree)...)
				wantLinks(t, keys, tree, c.signed)
			})
			t.Run("create", func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "out.tar")
				keys.sign(t, []string{"tar", "create", "--sign"}, append(slices.Clone(c.flags), linkTree(t), "-o", out)...)
				for program := range extractors {
					wantLinks(t, keys, extracted(t, program, out), c.signed)
				}
			})
			for _, maker := range []string{"tar", "bsdtar"} {
				t.Run(maker, func(t *testing.T) { linksOfArchive(t, keys, maker, c.flags, c.signed) })
			}
			t.Run("layer", func(t *testing.T) { linksOfLayer(t, keys, c.flags, c.signed) })
		})
	}
}

func linksOfArchive(t *testing.T, keys keySet, maker string, flags []string, signed bool) {
	dir := t.TempDir()
	in, out, plain, manifest := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar"), filepath.Join(dir, "m")
	harness.Must(t, maker, append([]string{"-cf", in, "--format=ustar", "-C", linkTree(t)}, linkNames...)...)
	keys.signTar(t, in, out, append(slices.Clone(flags), "--manifest", manifest)...)
	for program := range extractors {
		wantLinks(t, keys, extracted(t, program, out), signed)
	}
	verify := []string{"tar", "verify", "--cert", keys.certificate()}
	harness.Must(t, harness.Program(t), append(append(slices.Clone(verify), flags...), out)...)
	harness.Must(t, harness.Program(t), append(verify, "--manifest", manifest, out)...)
	applied := filepath.Join(dir, "applied.tar")
	harness.Must(t, harness.Program(t), "manifest", "apply", "--cert", keys.certificate(), manifest, in, "-o", applied)
	if read(t, applied) != read(t, out) {
		t.Error("the manifest, applied, gives another archive")
	}
	harness.Must(t, harness.Program(t), append(append([]string{"tar", "strip"}, flags...), out, "-o", plain)...)
	if read(t, plain) != read(t, in) {
		t.Error("stripped, it is not what it was")
	}
}

func linksOfLayer(t *testing.T, keys keySet, flags []string, signed bool) {
	dir, layout := t.TempDir(), harness.NewImages(t)
	in, out, layer := filepath.Join(dir, "in.tar"), filepath.Join(dir, "signed"), filepath.Join(dir, "layer.tar")
	harness.Must(t, "tar", append([]string{"-cf", in, "--format=gnu", "-C", linkTree(t)}, linkNames...)...)
	layout.Index(layout.Image("one", read(t, in)))
	keys.signOCI(t, layout.Dir, out, flags...)
	blobs, err := filepath.Glob(filepath.Join(out, "blobs/sha256/*"))
	check(t, err)
	for _, blob := range blobs {
		if text := read(t, blob); strings.Contains(text, "d/module.ko") && strings.Contains(text, "security.ima") {
			write(t, layer, text)
		}
	}
	for program := range extractors {
		wantLinks(t, keys, extracted(t, program, layer), signed)
	}
	harness.Must(t, harness.Program(t), append(append([]string{"tar", "verify", "--oci", "--cert", keys.certificate()}, flags...), out)...)
}
