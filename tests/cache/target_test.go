package cache

import (
	"fmt"
	"os"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestFirstLayerDecides signs the metadata of the files in several layers, of which only the first
// one has a file that tells which kernel they are for.
func TestFirstLayerDecides(t *testing.T) {
	l := newLab(t)
	elf, err := os.ReadFile("/proc/self/exe")
	check(t, err)
	in := harness.NewImages(t)
	images := []any{in.Image("first", harness.Layer("usr/lib/libx.so", string(elf[:4096])))}
	for i := range 5 {
		images = append(images, in.Image(fmt.Sprint("image-", i), harness.Layer(fmt.Sprint("file-", i), fmt.Sprint("content ", i))))
	}
	in.Index(images...)
	for i := range 3 {
		l.must(append([]string{"tar", "sign", "--oci", "--evm", "portable", "--evm-key", l.uri, "--evm-cert", l.certs + "/x509_ima.crt", "--key-for", "any", in.Dir, "-o", l.path(fmt.Sprint("out", i))}, l.key()...)...)
	}
}
