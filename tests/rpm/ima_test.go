package rpm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestIMAPlugin installs packages signed by rpmsign. The plugin sets the signatures on the files,
// and evmctl verifies them.
func TestIMAPlugin(t *testing.T) {
	for _, c := range []struct {
		file, cert string
		verified   int
	}{
		// 26 files in rich are signed. Three are configuration, one of which can be executed.
		{"v4/rich.rsa2048.rpm", "rsa2048.crt", 23},
		{"v4/sha512.p256.rpm", "p256.crt", 4},
		{"v4/verity.rpm", "rsa2048.crt", 4},
		{"v6/sha256.p256.rpm", "p256.crt", 4},
	} {
		t.Run(c.file, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			verified := packages.InstallIMA(t, root, frozenPath(c.file), frozenPath("keys/"+c.cert))
			if len(verified) != c.verified {
				t.Errorf("%d files verified, want %d: %v", len(verified), c.verified, verified)
			}
		})
	}
}

func frozenPath(file string) string { return filepath.Join(frozenDir, file) }

// TestIMAPluginConfig checks that the plugin with its macro also sets signatures on
// configuration, where an edited file keeps an invalid one, and none without the macro.
func TestIMAPluginConfig(t *testing.T) {
	for _, flags := range [][]string{{"--define", "_ima_sign_config_files 1"}, nil} {
		root, signed := t.TempDir(), flags != nil
		packages.Install(t, root, frozenPath("v4/rich.rsa2048.rpm"), flags...)
		conf := filepath.Join(root, "/etc/rich/rich.conf")
		check(t, os.WriteFile(conf, []byte("edited\n"), 0o644))
		if there := packages.SecurityIMA(t, conf) != ""; there != signed {
			t.Errorf("with the macro %t, configuration has security.ima: %t", signed, there)
		}
		r := harness.Run(t, harness.Program(t), "rootfs", "verify", "--include", "/etc/rich/rich.conf", "--cert", frozenPath("keys/rsa2048.crt"), root)
		if r.Code != 3 || strings.Contains(r.Out, "bad ") != signed {
			t.Errorf("with the macro %t, edited configuration: exit %d\n%s", signed, r.Code, r.Out)
		}
	}
}

// TestCheckInstalled checks that CheckInstalled finds faults.
func TestCheckInstalled(t *testing.T) {
	signed, root := frozenPath("v4/sha256.rsa2048.rpm"), t.TempDir()
	packages.Install(t, root, signed)
	_, err := packages.CheckInstalled(t, root, signed, frozenPath("keys/p256.crt"))
	wantEach(t, err, "evmctl ima_verify", 4)
	_, err = packages.CheckInstalled(t, root, frozenPath("v4/sha256.p256.rpm"), frozenPath("keys/p256.crt"))
	wantEach(t, err, "the package says", 4)

	root = t.TempDir()
	packages.Install(t, root, signed, "--define", "__plugindir /nonexistent")
	_, err = packages.CheckInstalled(t, root, signed, frozenPath("keys/rsa2048.crt"))
	wantEach(t, err, "no security.ima", 4)
}

func wantEach(t *testing.T, err error, text string, times int) {
	t.Helper()
	if err == nil || strings.Count(err.Error(), text) != times {
		t.Errorf("got %v, want %d times %q", err, times, text)
	}
}

// TestIMAPluginIgnores checks that rpm installs a package with another number of signatures
// than files, and sets none of them.
func TestIMAPluginIgnores(t *testing.T) {
	root, file := t.TempDir(), frozenPath("v4/defect-delsign-sign.rpm")
	packages.Install(t, root, file)
	for _, e := range packages.Files(t, file) {
		if value := packages.SecurityIMA(t, filepath.Join(root, e.Path)); value != "" {
			t.Errorf("%s has %s", e.Path, value)
		}
	}
	if !slices.ContainsFunc(packages.Files(t, file), packages.Entry.Appraised) {
		t.Error("no file to look at")
	}
}
