package bitbake

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestKeysOfAService checks which URIs of a signing service a build accepts, and that no message
// repeats what may be a secret.
func TestKeysOfAService(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ci.pem", "ca.crt", "with space", "image.crt", "pin"} {
		write(t, filepath.Join(dir, name), name)
	}
	base := "https://s1:7443,s2:7443/image?identity=" + dir + "/ci.pem"
	for _, c := range []struct{ uri, env, pass, want string }{
		{base, "", "", ""},
		{base + "&ca=" + dir + "/ca.crt&timeout=5m", "", "", ""},
		{base + "&log=file:" + dir + "/with%20space", "", "", ""},
		{base + "&client-key=cred:tls", "CREDENTIALS_DIRECTORY", "", ""},
		{base, "CREDENTIALS_DIRECTORY", "cred:pin", ""},
		{base, "", "file:" + dir + "/pin", ""},
		{base, "", "cred:secret", "needs a variable: add IMASIGN_KEY_ENV"},
		{base + "&client-key=cred:secret", "", "", "needs a variable: add IMASIGN_KEY_ENV"},
		{"https://s1:7443/image", "", "", "A_KEY names no requester"},
		{"https://s1:7443/image?identity=env:SECRET", "", "", "identity is env:, but BitBake writes its whole environment"},
		{"https://s1:7443/image?identity=secret.pem", "", "", "identity must be an absolute path"},
		{"https://s1:7443/image?identity=fd:3", "", "", "identity must be an absolute path"},
		{base + "&ca=" + dir + "/none.crt", "", "", "ca: " + dir + "/none.crt is not a file"},
	} {
		variables := with("A_KEY", c.uri, "A_CERT", dir+"/image.crt", "A_KEY_PASS", c.pass, "IMASIGN_KEY_ENV", c.env, "CREDENTIALS_DIRECTORY", dir)
		got := runClass(t, variables, "imasign_check_key(d, 'A')")
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") || strings.Contains(strings.ToLower(got), "secret") {
			t.Errorf("%s: %q, want %q", c.uri, got, c.want)
		}
	}
}

// TestReceiptsOfImages checks when a build keeps receipts, and that the paths and keys are in no
// hash.
func TestReceiptsOfImages(t *testing.T) {
	class := filepath.Join(root, "classes/imasign-image.bbclass")
	def := ""
	for _, f := range functions(t, class) {
		if f.name == "imasign_receipts" {
			def = f.body + "\n"
		}
	}
	const remote, path = "https://s1/image?identity=/ci.pem", "/deploy/image.imasign.receipts"
	for _, c := range []struct{ key, evm, evmKey, receipts, want string }{
		{remote, "", "", path, "['--receipts', '" + path + "']\n"},
		{"HTTPS" + remote[5:], "", "", path, "['--receipts', '" + path + "']\n"},
		{"/keys/x509_ima.key", "portable", remote, path, "['--receipts', '" + path + "']\n"},
		{"/keys/x509_ima.key", "", remote, path, "[]\n"},
		{"pkcs11:object=image", "portable", "", path, "[]\n"},
		{remote, "", "", "", "[]\n"},
	} {
		variables := with("IMASIGN_ROOTFS_KEY", c.key, "IMASIGN_EVM", c.evm, "IMASIGN_EVM_KEY", c.evmKey, "IMASIGN_RECEIPTS", c.receipts)
		if got := runClass(t, variables, def+"print(imasign_receipts(d))"); strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
	for _, line := range []string{`IMASIGN_RECEIPTS[vardepvalue] = ""`, `imasign_receipts[vardepsexclude] += "IMASIGN_RECEIPTS IMASIGN_ROOTFS_KEY IMASIGN_EVM_KEY"`} {
		if !strings.Contains(read(t, class), line+"\n") {
			t.Errorf("%s lacks %s", class, line)
		}
	}
}
