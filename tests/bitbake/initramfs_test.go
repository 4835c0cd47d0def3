package bitbake

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// moduleText returns the file that the recipe installs as /init.d/95-imasign, made by the
// recipe's own commands.
func moduleText(t *testing.T) string {
	t.Helper()
	recipe := read(t, filepath.Join(root, "recipes/initramfs-module-imasign/initramfs-module-imasign_1.0.bb"))
	task := regexp.MustCompile(`(?s)do_install \(\) \{\n(.*?)\n\}`).FindStringSubmatch(recipe)
	if task == nil {
		t.Fatal("the recipe has no do_install")
	}
	dir := t.TempDir()
	script := task[1]
	for variable, value := range map[string]string{
		"${D}": dir, "${S}": filepath.Join(root, "cmd/imasign-build/internal/initramfs/hooks"), "${base_sbindir}": "/sbin", "${IMASIGN_MODULE_NUMBER}": "95",
		"${@'yes' if bb.utils.to_boolean(d.getVar('IMASIGN_ALLOW_OFF')) else 'no'}": "no",
		"${@'yes' if bb.utils.to_boolean(d.getVar('IMASIGN_EVM_V3')) else 'no'}":    "no",
	} {
		script = strings.ReplaceAll(script, variable, value)
	}
	harness.Must(t, "sh", "-euc", script)
	return read(t, filepath.Join(dir, "init.d/95-imasign"))
}

// TestModuleIsThatOfTheProgram checks that the layer and `initramfs bundle` install the
// same hook.
func TestModuleIsThatOfTheProgram(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bundle")
	harness.Must(t, harness.Program(t), "initramfs", "bundle", "-o", dir, "--hook", "initramfs-framework", "--cert", filepath.Join(harness.Keys(t, "p256"), "x509_ima.crt"))
	if read(t, filepath.Join(dir, "init.d/95-imasign")) != moduleText(t) {
		t.Error("the recipe installs another hook than initramfs bundle")
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
