package cache

import (
	"fmt"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestUnderPseudo signs trees under pseudo and under fakeroot as an unprivileged user, with a
// token, in the cache that the user has by default. Nothing that pseudo tracks breaks, not
// even if it tracks the cache.
func TestUnderPseudo(t *testing.T) {
	b := harness.NewBuilder(t)
	h := harness.NewSoftHSM(t)
	b.OK(b.Run(fmt.Sprintf(`mkdir tokens; echo "directories.tokendir = $PWD/tokens" >softhsm2.conf; echo %s >pin
export SOFTHSM2_CONF=$PWD/softhsm2.conf
softhsm2-util --init-token --free --label build --pin "$(cat pin)" --so-pin 12345678
imasign-build key init --algorithm p256 --on "pkcs11:token=build?module-path=%s&pin-source=file:$PWD/pin" keys`, pin, h.Module)))
	sign := fmt.Sprintf(`SOFTHSM2_CONF=$PWD/softhsm2.conf imasign-build rootfs sign --progress=none --json --cert keys \
		--key "pkcs11:token=build;object=x509_ima?module-path=%s&pin-source=file:$PWD/pin" rootfs`, h.Module)
	verify := "; imasign-build rootfs verify --progress=none --cert keys rootfs >&2"
	strip := "imasign-build rootfs strip --progress=none rootfs >&2; "
	made := `mkdir rootfs; for i in $(seq 40); do echo $i >rootfs/$i; done; `
	first := b.OK(b.Pseudo(made + "chown 5:6 rootfs/7; " + sign + verify))
	if !strings.Contains(first, `"cached": 0,`) {
		t.Errorf("first build: %s", first)
	}
	for round := range 2 {
		// Files that come and go get inodes that the cache had, or may get.
		churn := "ls -lR .cache >&2; for i in $(seq 50); do echo $i >churn-$i; done; rm churn-*; "
		if round > 0 {
			churn += "chmod -R go= .cache; " // from here on pseudo tracks it
		}
		if again := b.OK(b.Pseudo(strip + sign + verify + "; " + churn)); !strings.Contains(again, `"cached": 40,`) {
			t.Errorf("round %d: %s", round, again)
		}
		b.StopPseudo()
	}
	if in := b.OK(b.Run("find .cache -type d -printf '%m %f\n'")); !strings.Contains(in, "700 imasign-build") {
		t.Errorf("directories of the cache: %s", in)
	}
	if out := b.OK(b.Fakeroot("rm -rf rootfs; " + made + sign + verify)); !strings.Contains(out, `"cached": 40,`) {
		t.Errorf("under fakeroot: %s", out)
	}
}
