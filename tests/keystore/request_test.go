package keystore

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestRequests has a CA of openssl certify keys in a token and a TPM, by a request. Files
// signed with the certificate are verified by evmctl. The same devices have a CA that
// certifies an ML-DSA key in a file.
func TestRequests(t *testing.T) {
	harness.Root(t)
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	s := harness.NewTPM(t)
	secret := "?device=" + s.Device + "&auth-source=file:" + harness.SecretFile(t, auth)
	corporate := t.TempDir()
	program(t, 0, "key", "init", "--only-ca", "--subject", "Corporate", corporate)
	corporateCA := filepath.Join(corporate, "system_trusted_key")
	for name, on := range map[string]string{"pkcs11": h.URI(t, "build", "", pin), "tpm2": "tpm2:" + secret} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			initIn(t, dir, "--algorithm", "p256", "--on", on)
			of := func(key string) string {
				if name == "tpm2" {
					return "tpm2:" + filepath.Join(dir, key+".key") + secret
				}
				return h.URI(t, "build", key, pin)
			}
			request, cert := filepath.Join(dir, "csr"), filepath.Join(dir, "new.crt")
			program(t, 0, "key", "request", "--subject", "Router", "--for", "v2", "-o", request, of("x509_ima"))
			openssl := harness.Tool(t, "openssl")
			harness.Must(t, openssl, "req", "-verify", "-noout", "-in", request)
			harness.Must(t, openssl, "x509", "-req", "-in", request, "-CA", corporateCA+".crt", "-CAkey", corporateCA+".key",
				"-copy_extensions", "copyall", "-days", "1000", "-out", cert)
			r := program(t, 0, "key", "check", "--ca", corporateCA+".crt", "--kernel", "6.12", cert)
			if strings.Contains(r.Out, "warn") {
				t.Error(r.Out)
			}
			signed := tree(t)
			program(t, 0, "rootfs", "sign", "--key", of("x509_ima"), "--cert", cert, signed)
			der := filepath.Join(dir, "new.der")
			harness.Must(t, openssl, "x509", "-in", cert, "-outform", "DER", "-out", der)
			evmctlVerifies(t, der, signed)

			pq, ca := filepath.Join(dir, "pq"), filepath.Join(dir, "system_trusted_key.crt")
			program(t, 0, "key", "init", "--algorithm", "mldsa65", "--ca-key", of("system_trusted_key"), "--ca", ca, pq)
			program(t, 0, "key", "check", "--ca", ca, pq)
			verify := harness.OpenSSL35(t, "verify", "-CAfile", ca, filepath.Join(pq, "x509_ima.crt"))
			if r := harness.RunCommand(t, verify); r.Code != 0 {
				t.Errorf("%s%s", r.Out, r.Err)
			}
		})
	}
}
