package evmctl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/xattr"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestOthersSignaturesByEvmctl checks that only --force replaces signatures that evmctl
// made with another key, in version 1, or with another key that has the same key id.
func TestOthersSignaturesByEvmctl(t *testing.T) {
	harness.Root(t)
	harness.Tool(t, "evmctl")
	keys, other := harness.Keys(t, "rsa2048"), filepath.Join(t.TempDir(), "other.key")
	harness.Must(t, "openssl", "genrsa", "-traditional", "-out", other, "2048")
	certificate := filepath.Join(keys, "x509_ima.crt")
	_, id, _ := strings.Cut(harness.Must(t, harness.Program(t), "key", "show", certificate), "key id")
	for name, c := range map[string]struct {
		flags []string
		begin string // first bytes of the value
	}{
		"version 1":   {[]string{"--rsa", "--key", other}, "\x03\x01"},
		"version 2":   {[]string{"--key", other}, "\x03\x02"},
		"same key id": {[]string{"--keyid", strings.Fields(id)[0], "--key", other}, "\x03\x02"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := t.TempDir()
			file := filepath.Join(tree, "file")
			if err := os.WriteFile(file, []byte("content\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			harness.Must(t, "evmctl", append(append([]string{"ima_sign"}, c.flags...), file)...)
			before, err := xattr.LGet(file, securityIMA)
			if err != nil || !bytes.HasPrefix(before, []byte(c.begin)) {
				t.Fatalf("evmctl made %x, %v", before, err)
			}
			sign := []string{"rootfs", "sign", "--key", filepath.Join(keys, "x509_ima.key"), "--cert", certificate, tree}
			r := harness.Run(t, harness.Program(t), sign...)
			if after, err := xattr.LGet(file, securityIMA); r.Code != 1 || !strings.Contains(r.Err, "--force") || err != nil || !bytes.Equal(before, after) {
				t.Errorf("exit %d: %s; the value is %x now, %v", r.Code, r.Err, after, err)
			}
			harness.Must(t, harness.Program(t), append(sign, "--force")...)
			if !accepts(t, filepath.Join(keys, "x509_ima.der"), file) {
				t.Error("evmctl does not accept what --force made")
			}
		})
	}
}
