package pseudo

import (
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestImagesThatHaveNoRoom checks that a warning says which options mkfs.ext4 needs for
// signatures that are too large for its defaults: without them it fails. fakeroot cannot hold
// them.
func TestImagesThatHaveNoRoom(t *testing.T) {
	b := harness.NewBuilder(t)
	for _, c := range []struct{ algorithm, needs string }{{"p256", ""}, {"mldsa65", "-b 4096"}, {"mldsa87", "-O ea_inode"}} {
		algorithm, needs := c.algorithm, c.needs
		b.OK(b.Run("rm -rf keys; imasign-build key init --algorithm " + algorithm + " keys"))
		const make = "mkfs.ext4 -q -F -d rootfs image 16M "
		r := b.Pseudo(`rm -rf rootfs; mkdir rootfs; echo one >rootfs/one
imasign-build rootfs sign --progress=none --key keys rootfs >&2
` + make + ` >&2 && echo fits
` + make + needs + " >&2 && echo fits with " + needs)
		b.OK(r)
		fits, warned := strings.Contains(r.Out, "fits\n"), strings.Contains(r.Err, "mkfs.ext4 "+needs) && needs != ""
		if fits != (needs == "") || warned == fits {
			t.Errorf("%s: fits %v, warned %v\n%s\n%s", algorithm, fits, warned, r.Out, r.Err)
		}
	}
	// pseudo returns the whole length of a value that it cuts off to fit into a buffer.
	out := b.OK(b.Pseudo("imasign-build rootfs sign --progress=none --key keys rootfs; imasign-build rootfs verify --progress=none --cert keys rootfs; imasign-build rootfs strip --progress=none rootfs"))
	for _, says := range []string{"1 unchanged", "1 ok", "1 stripped"} {
		if !strings.Contains(out, says) {
			t.Errorf("nothing says %q:\n%s", says, out)
		}
	}
	b.OK(b.Run("rm -rf keys; imasign-build key init --algorithm mldsa44 keys"))
	r := b.Fakeroot("mkdir fake; echo one >fake/one; imasign-build rootfs sign --progress=none --key keys fake")
	if r.Code != 1 || !strings.Contains(r.Err, "security.ima of 2429 bytes: fakeroot keeps at most 1011") || strings.Contains(r.Err, "restored") {
		t.Errorf("exit %d: %s", r.Code, r.Err)
	}
}
