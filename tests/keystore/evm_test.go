package keystore

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestEVMKeys signs with one key in a device and the other in a file, and the reverse. The
// PIN of both keys comes from --key-pass, that of the key for security.evm also from
// --evm-key-pass.
func TestEVMKeys(t *testing.T) {
	harness.Root(t)
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	s := harness.NewTPM(t)
	pass := "file:" + harness.SecretFile(t, pin)
	files := filepath.Join(t.TempDir(), "files")
	program(t, 0, "key", "init", "--algorithm", "p256", "--with", "evm", files)
	query := "?module-path=" + h.Module
	for name, c := range map[string]struct {
		on   string
		pass []string
		uri  func(dir, name string) string
	}{
		"pkcs11": {"pkcs11:token=build" + query, []string{"--key-pass", pass}, func(_, name string) string { return "pkcs11:token=build;object=" + name + query }},
		"tpm2": {"tpm2:?device=" + s.Device, nil, func(dir, name string) string {
			return "tpm2:" + filepath.Join(dir, name+".key") + "?device=" + s.Device
		}},
	} {
		t.Run(name, func(t *testing.T) {
			device := filepath.Join(t.TempDir(), "device")
			program(t, 0, append([]string{"key", "init", "--algorithm", "p256", "--with", "evm", "--on", c.on, device}, c.pass...)...)
			dir := tree(t)
			sign := func(ima, evm string, pass []string) {
				keys := map[string]string{"x509_ima": filepath.Join(files, "x509_ima.key"), "x509_evm": filepath.Join(files, "x509_evm.key")}
				for key, in := range map[string]string{"x509_ima": ima, "x509_evm": evm} {
					if in == device {
						keys[key] = c.uri(device, key)
					}
				}
				program(t, 0, append([]string{
					"rootfs", "sign", "--force", "--key", keys["x509_ima"], "--cert", filepath.Join(ima, "x509_ima.crt"),
					"--evm", "portable", "--evm-key", keys["x509_evm"], "--evm-cert", filepath.Join(evm, "x509_evm.crt"), "--evm-target", "64le", dir,
				}, pass...)...)
				program(t, 0, "rootfs", "verify", "--cert", ima, "--evm-cert", evm, "--require-evm", "--evm-target", "64le", dir)
			}
			sign(device, device, c.pass)
			sign(device, files, c.pass)
			sign(files, device, c.pass)
			if c.pass != nil {
				sign(files, device, []string{strings.Replace(c.pass[0], "key", "evm-key", 1), pass})
			}
		})
	}
}
