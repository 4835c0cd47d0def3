package pseudo

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestBuildsThatCannotBePreloaded checks that static builds fail at once under a preload,
// and work without one.
func TestBuildsThatCannotBePreloaded(t *testing.T) {
	b := newTree(t, "p256")
	for _, c := range []struct{ name, cgo, ldflags, says string }{
		{"nocgo", "0", "", "built without cgo"},
		{"static", "1", "-linkmode external -extldflags -static", "linked statically"},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := t.TempDir() + "/imasign-build"
			build := exec.Command("go", "build", "-o", program, "-ldflags", c.ldflags, "github.com/imasign/imasign-build/cmd/imasign-build")
			build.Env = append(os.Environ(), "CGO_ENABLED="+c.cgo)
			if r := harness.RunCommand(t, build); r.Code != 0 {
				t.Fatal(r.Err)
			}
			harness.Must(t, "install", "-m", "0755", program, b.Path("bin/"+c.name))
			command := c.name + " rootfs sign " + keys + " rootfs"
			for library, run := range map[string]func(string) harness.Result{"pseudo": b.Pseudo, "fakeroot": b.Fakeroot} {
				r := run(command)
				if r.Code != 1 || r.Out != "" || !strings.Contains(r.Err, c.says) || !strings.Contains(r.Err, "LD_PRELOAD asks for "+library) || !strings.Contains(r.Err, "CGO_ENABLED=1") {
					t.Errorf("%s: exit %d %s%s", library, r.Code, r.Out, r.Err)
				}
			}
			if r := b.Pseudo("PSEUDO_UNLOAD=1 " + c.name + " rootfs verify --cert keys/x509_ima.crt keys"); r.Code != 3 {
				t.Errorf("unloaded: exit %d %s", r.Code, r.Err)
			}
			harness.Sign(t, b.Path("keys"), b.Path("rootfs")) // as root, without a preload
			if r := harness.Run(t, program, "rootfs", "verify", "--cert", b.Path("keys/x509_ima.crt"), b.Path("rootfs")); r.Code != 0 {
				t.Errorf("outside: exit %d %s%s", r.Code, r.Out, r.Err)
			}
		})
	}
}
