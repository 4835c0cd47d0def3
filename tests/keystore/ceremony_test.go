package keystore

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestCeremony runs what docs/hardware-keys.md tells people to do.
func TestCeremony(t *testing.T) {
	harness.Root(t)
	harness.NewSoftHSM(t)
	for _, tool := range []string{"softhsm2-util", "pkcs11-tool", "openssl", "evmctl"} {
		harness.Tool(t, tool)
	}
	doc, err := os.ReadFile("../../docs/hardware-keys.md")
	check(t, err)
	script := "set -eu\n"
	for _, block := range strings.Split(string(doc), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		script += commands
	}
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(harness.Program(t))+":"+os.Getenv("PATH"))
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	for _, want := range []string{"2 signed", "2 ok", "x509_ima.crt: kernel newest takes it", "verification is OK"} {
		if !strings.Contains(r.Out+r.Err, want) {
			t.Errorf("%q is not in\n%s%s", want, r.Out, r.Err)
		}
	}
	for _, token := range []string{"vault", "y2026", "y2027"} {
		secret, err := os.ReadFile(filepath.Join(dir, token+".pin"))
		check(t, err)
		if strings.Contains(r.Out+r.Err, strings.TrimSpace(string(secret))) {
			t.Errorf("the PIN of %s was printed", token)
		}
	}
	keys, err := filepath.Glob(filepath.Join(dir, "*/*.key"))
	check(t, err)
	if len(keys) > 0 {
		t.Errorf("private keys outside of the tokens: %v", keys)
	}
}
