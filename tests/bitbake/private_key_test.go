package bitbake

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestPrivateKeysAreFound has imasign.bbclass judge keys that OpenSSL wrote in every
// form, and real files that are no keys.
func TestPrivateKeysAreFound(t *testing.T) {
	openssl := harness.Tool(t, "openssl")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ssl := func(args ...string) { harness.Must(t, openssl, args...) }
	for algorithm, option := range map[string]string{"RSA": "rsa_keygen_bits:2048", "EC": "ec_paramgen_curve:P-256"} {
		pem := in(algorithm + ".pkcs8.pem")
		ssl("genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", pem)
		ssl("pkey", "-in", pem, "-outform", "DER", "-out", in(algorithm+".traditional.der"), "-traditional")
		ssl("pkey", "-in", pem, "-out", in(algorithm+".traditional.pem"), "-traditional")
		ssl("pkcs8", "-topk8", "-nocrypt", "-in", pem, "-outform", "DER", "-out", in(algorithm+".pkcs8.der"))
		ssl("pkcs8", "-topk8", "-in", pem, "-passout", "pass:x", "-out", in(algorithm+".encrypted.pem"))
		ssl("pkcs8", "-topk8", "-in", pem, "-passout", "pass:x", "-outform", "DER", "-out", in(algorithm+".encrypted.der"))
		ssl("pkey", "-in", pem, "-aes128", "-passout", "pass:x", "-traditional", "-out", in(algorithm+".legacy.pem"))
		ssl("pkey", "-in", pem, "-pubout", "-out", in(algorithm+".public"))
	}
	keys, err := filepath.Glob(in("*.[pd]e[mr]"))
	if err != nil || len(keys) != 14 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	set := harness.Keys(t, "p256")
	innocent := []string{in("RSA.public"), in("EC.public"), filepath.Join(set, "x509_ima.crt"), filepath.Join(set, "x509_ima.der"), openssl, "/bin/sh", harness.Program(t)}
	libraries, err := filepath.Glob("/usr/lib/*/lib*crypto*.so*")
	if err != nil || len(libraries) == 0 {
		t.Fatalf("libcrypto is missing: %v", err)
	}
	for file, found := range judge(t, append(append(innocent, libraries...), keys...)) {
		key := strings.HasPrefix(file, dir) && !strings.HasSuffix(file, ".public")
		if found != key {
			t.Errorf("%s: is a private key: %v, want %v", file, found, key)
		}
	}
}

// judge asks imasign_holds_private_key about each file.
func judge(t *testing.T, files []string) map[string]bool {
	t.Helper()
	list, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Tool(t, "python3"), "-c", classFunction(t, "imasign", "imasign_holds_private_key")+
		"\nimport json, sys\nprint(json.dumps({f: imasign_holds_private_key(open(f, 'rb').read()) for f in json.load(sys.stdin)}))")
	cmd.Stdin = strings.NewReader(string(list))
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	var found map[string]bool
	if err := json.Unmarshal([]byte(r.Out), &found); err != nil {
		t.Fatal(err)
	}
	return found
}
