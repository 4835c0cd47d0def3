package pseudo

import (
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestFakeroot does everything in one run, because fakeroot does not keep xattrs longer.
func TestFakeroot(t *testing.T) {
	b := harness.NewBuilder(t)
	b.OK(b.Run("imasign-build key init --algorithm p256 keys"))
	r := b.Fakeroot(tree + `
imasign-build rootfs sign --manifest m.jsonl ` + keys + ` rootfs >&2
imasign-build rootfs strip --progress=none rootfs >&2
imasign-build manifest apply --progress=none --cert keys/x509_ima.crt m.jsonl rootfs >&2
imasign-build rootfs sign ` + keys + ` rootfs >&2
` + verify + ` --manifest m.jsonl >&2
tar --xattrs --xattrs-include='*' -cf image.tar -C rootfs .
cd rootfs` + survey)
	want := b.OK(r)
	for _, says := range []string{"11 signed", "11 stripped", "11 unchanged", "12 ok"} {
		if !strings.Contains(r.Err, says) {
			t.Errorf("nothing says %q:\n%s", says, r.Err)
		}
	}
	if n := signatures(want); n != names {
		t.Errorf("%d names are signed, not %d", n, names)
	}
	extracted := t.TempDir()
	harness.Must(t, "tar", "--xattrs", "--xattrs-include=*", "-xpf", b.Path("image.tar"), "-C", extracted)
	judge(t, b, extracted, want)
	control := b.Fakeroot("rm -rf rootfs" + tree + "imasign-build rootfs sign " + keys + " rootfs >&2; echo tampered > rootfs/etc/shadow; " + verify)
	if control.Code != 3 || !strings.Contains(control.Out, "bad       etc/shadow") {
		t.Errorf("exit %d\n%s", control.Code, control.Out)
	}
}
