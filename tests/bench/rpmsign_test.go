package bench

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// rpmsign is rpmsign 4.18 with support for IMA, as rpmsign.sh builds it, and with a key in a
// token.
type rpmsign struct {
	dir string
	env []string
	gpg string // the OpenPGP key, without which rpmsign 4.18 does not sign
	key string // of the files
}

var builtRPMSign = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "imasign-build", "rpmsign-4.18")
	out, err := exec.Command("./rpmsign.sh", dir).CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return dir, nil
})

func newRPMSign(b *testing.B, t *token) *rpmsign {
	b.Helper()
	dir, err := builtRPMSign()
	if err != nil {
		b.Fatalf("rpmsign.sh: %v", err)
	}
	env, gpg := packages.GPG(b, "rsa")
	env = append(env, "OPENSSL_ENGINES="+filepath.Join(dir, "engines"), "PKCS11_MODULE_PATH="+t.module, "RPMSIGN_KEYID="+t.keyID)
	// The engine takes a final newline for a part of the PIN.
	pin := filepath.Join(b.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte(t.pin), 0o600); err != nil {
		b.Fatal(err)
	}
	return &rpmsign{dir, env, gpg, "pkcs11:token=bench;object=x509_ima;type=private?pin-source=file:" + pin}
}

// sign makes an OpenPGP signature of each package, in place, and with the flag --signfiles also
// those of the files.
func (r *rpmsign) sign(b *testing.B, paths []string, flags ...string) harness.Result {
	b.Helper()
	args := append([]string{"--addsign", "--define", "__gpg " + harness.Tool(b, "gpg"), "--define", "_gpg_name " + r.gpg}, flags...)
	cmd := exec.Command(filepath.Join(r.dir, "bin", "rpmsign"), append(args, paths...)...)
	cmd.Env = slices.Clone(r.env)
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "SOFTHSM2_") || strings.HasPrefix(setting, "SLOWMODULE_") {
			cmd.Env = append(cmd.Env, setting)
		}
	}
	result := harness.RunCommandMeasured(b, cmd)
	if result.Code != 0 {
		b.Fatalf("rpmsign: exit %d\n%s", result.Code, result.Err)
	}
	return result
}
