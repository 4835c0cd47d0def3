package bitbake

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestPrivateKeysAreRefused checks that imasign.bbclass refuses trees with private keys.
// Which kinds of keys are found is tested with the program.
func TestPrivateKeysAreRefused(t *testing.T) {
	keys, tree := harness.Keys(t, "p256"), t.TempDir()
	key, cert := filepath.Join(keys, "x509_ima.key"), filepath.Join(keys, "x509_ima.crt")
	other := filepath.Join(t.TempDir(), "other.pem")
	harness.Must(t, harness.Tool(t, "openssl"), "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other)
	sum := func(file string) string { return strings.Fields(harness.Must(t, "sha256sum", file))[0] }
	install := func(from string) {
		harness.Must(t, "install", "-D", "-m", "0600", from, filepath.Join(tree, "etc/forgotten.pem"))
	}
	for _, c := range []struct{ name, file, allow, says string }{
		{"nothing", cert, "", ""},
		{"a key", other, "", "etc/forgotten.pem: PEM at byte 0"},
		{"allowed", other, "/etc/forgotten.pem=" + sum(other), ""},
		{"another is allowed", other, "/etc/forgotten.pem=" + sum(key), "another digest"},
		{"allowed elsewhere", other, "/etc/other.pem=" + sum(other), "etc/forgotten.pem: PEM at byte 0"},
		{"the signing key", key, "/etc/forgotten.pem=" + sum(key), "etc/forgotten.pem: the signing key itself"},
	} {
		install(c.file)
		if said := refuse(t, tree, map[string]string{"IMASIGN_KEY": key, "IMASIGN_CERT": cert, "IMASIGN_ALLOW_PRIVATE_KEYS": c.allow}); !strings.Contains(said, c.says) || (said == "") != (c.says == "") {
			t.Errorf("%s: %q", c.name, said)
		}
	}
}

// refuse runs imasign_refuse_private_keys and returns the message of its fatal error.
func refuse(t *testing.T, tree string, variables map[string]string) string {
	t.Helper()
	code := "import os, subprocess, sys\n"
	for _, name := range []string{"imasign_key_file", "imasign_common_flags", "imasign_refuse_private_keys"} {
		code += classFunction(t, "imasign", name) + "\n"
	}
	code += `
class d:
    getVar = staticmethod(os.environ.get)
def imasign_run(d, arguments):
    done = subprocess.run([sys.argv[1], *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.stdout.write(done.stdout + done.stderr)
imasign_refuse_private_keys(d, sys.argv[2])
`
	cmd := exec.Command(harness.Tool(t, "python3"), "-c", code, harness.Program(t), tree)
	cmd.Env = os.Environ()
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	return r.Out
}
