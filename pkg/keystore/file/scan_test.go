package file_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore/file"
)

func TestHoldsPrivateKey(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	cert := certificate(t, key, 1).Raw
	clearDER := pkcs8DER(t, key)
	lockedDER := encrypted(t, key, nil)
	text := armor("PRIVATE KEY", clearDER)
	for name, c := range map[string]struct {
		data  []byte
		holds bool
	}{
		"PKCS #8":              {clearDER, true},
		"PKCS #1":              {x509.MarshalPKCS1PrivateKey(rsaKey()), true},
		"SEC 1":                {sec1DER(t, key), true},
		"encrypted PKCS #8":    {lockedDER, true},
		"behind a certificate": {join(cert, clearDER), true},
		"PEM":                  {text, true},
		"encrypted PEM":        {armor("ENCRYPTED PRIVATE KEY", lockedDER), true},
		"legacy PEM":           {legacy(t, sec1DER(t, key), x509.PEMCipherAES128), true},
		"inside of something":  {join([]byte("\x7fELF\x00\x00"), text, []byte("more")), true},
		"PEM with CR LF":       {[]byte("-----BEGIN RSA PRIVATE KEY-----\r\nMIIEpAIBAAKCAQEAabcd\r\n"), true},
		"OpenSSH":              {[]byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"), true},
		"PuTTY":                {[]byte("PuTTY-User-Key-File-3: ssh-rsa\n"), true},
		"OpenPGP":              {[]byte("-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: x\n\nlQVYBGVexample0123456789\n"), true},
		"certificate":          {cert, false},
		"PEM certificate":      {armor("CERTIFICATE", cert), false},
		"public key":           {armor("PUBLIC KEY", []byte("0123456789abcdef0123456789")), false},
		"only the line":        {[]byte("strings: -----BEGIN PRIVATE KEY-----\x00-----END PRIVATE KEY-----\x00"), false},
		"empty":                {nil, false},
		"policy":               {[]byte("appraise func=BPRM_CHECK\n"), false},
		"cut DER":              {clearDER[:40], false},
		"other DER":            {[]byte{0x30, 0x03, 0x02, 0x01, 0x05}, false},
		"digest":               {append([]byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}, make([]byte, 32)...), false},
	} {
		if got := file.HoldsPrivateKey(c.data); got != c.holds {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestHoldsPrivateKeyOfOthers: forms that are read nowhere here, as their programs make
// them.
func TestHoldsPrivateKeyOfOthers(t *testing.T) {
	dir := t.TempDir()
	key := ecKey(t, elliptic.P256())
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), armor("PRIVATE KEY", pkcs8DER(t, key)), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate(t, key, 1).Raw}), 0o600))
	for name, script := range map[string]string{
		"PKCS #12":     "openssl pkcs12 -export -inkey key.pem -in cert.pem -passout pass:x -out out",
		"PBES1":        "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in key.pem -passout pass:x -outform DER -out out",
		"scrypt":       "openssl pkcs8 -topk8 -scrypt -in key.pem -passout pass:x -outform DER -out out",
		"Ed25519":      "openssl genpkey -algorithm ed25519 -outform DER -out out",
		"DSA":          "openssl dsaparam -genkey -noout -out out 1024",
		"EC, explicit": "openssl ec -in key.pem -param_enc explicit -outform DER -out out",
	} {
		cmd := exec.Command("sh", "-euc", script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "out"))
		check(t, err)
		if !file.HoldsPrivateKey(data) {
			t.Errorf("%s is not noticed", name)
		}
	}
}
