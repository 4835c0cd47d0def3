package keyscan_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/keystore/file"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestMLDSAKeys checks the forms in which OpenSSL 3.5 writes ML-DSA keys: as keys of others,
// and as the key that signs, which may be known in another form.
func TestMLDSAKeys(t *testing.T) {
	for _, size := range []string{"44", "87"} {
		dir := t.TempDir()
		openssl := func(args string) []byte {
			t.Helper()
			cmd := harness.OpenSSL35(t, strings.Fields(args)...)
			cmd.Dir = dir
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", args, err)
			}
			return out
		}
		openssl("genpkey -algorithm ML-DSA-" + size + " -out key.pem")
		private, encoded, err := file.Load(context.Background(), filepath.Join(dir, "key.pem"), nil)
		check(t, err)
		foreign := keyscan.New()
		byKey := keyscan.New(keyscan.Own{Public: private.Public(), Private: private, Encoded: encoded})
		byCertificate := keyscan.New(keyscan.Own{Public: private.Public()})
		for _, form := range []string{"seed-priv", "priv-only", "seed-only"} {
			der := openssl("pkey -in key.pem -outform DER -provparam ml-dsa.output_formats=" + form)
			pem := openssl("pkey -in key.pem -provparam ml-dsa.output_formats=" + form)
			for what, data := range map[string][]byte{
				"PEM": pem, "DER": der, "DER in a file": slices.Concat([]byte("before"), der, []byte("behind")),
				"in base64": []byte(base64.StdEncoding.EncodeToString(der)), "wrapped": wrapped(t, der), "in hexadecimal": []byte(hex.EncodeToString(der)),
				"another label": bytes.ReplaceAll(pem, []byte("PRIVATE KEY"), []byte("ML-DSA-"+size+" PRIVATE KEY")),
			} {
				for how, s := range map[string]*keyscan.Scanner{"by key": byKey, "by certificate": byCertificate, "as one of others": foreign} {
					if found := scan(t, s, data); len(found) != 1 || found[0].Own == (s == foreign) {
						t.Errorf("%s, %s, %s, %s: %+v", size, form, what, how, found)
					}
				}
			}
		}
		expanded := openssl("pkey -in key.pem -outform DER -provparam ml-dsa.output_formats=bare-priv")
		for what, data := range map[string][]byte{
			"bare seed":    openssl("pkey -in key.pem -outform DER -provparam ml-dsa.output_formats=bare-seed"),
			"bare key":     expanded,
			"raw":          expanded[24:],
			"text":         openssl("pkey -in key.pem -noout -text"),
			"encrypted":    openssl("pkcs8 -topk8 -in key.pem -passout pass:x"),
			"JSON Web Key": []byte(`{"kty":"AKP","alg":"ML-DSA-44","priv":"` + base64.RawURLEncoding.EncodeToString(seed(t, private)) + `"}`),
		} {
			if found := scan(t, byKey, data); len(found) == 0 || !found[0].Own && what != "encrypted" {
				t.Errorf("%s, %s: %+v", size, what, found)
			}
		}
		public := openssl("pkey -in key.pem -pubout -outform DER")
		if found := scan(t, byKey, slices.Concat(public, openssl("pkey -in key.pem -pubout -text"))); len(found) > 0 {
			t.Errorf("%s: the public key: %+v", size, found)
		}
		other := openssl("genpkey -algorithm ML-DSA-" + size)
		if found := scan(t, byKey, other); len(found) != 1 || found[0].Own {
			t.Errorf("%s: another key: %+v", size, found)
		}
	}
}

func seed(t *testing.T, key any) []byte {
	t.Helper()
	list := key.(*mldsa.PrivateKey).Secrets()
	if len(list) != 3 || len(list[2]) != 32 {
		t.Fatalf("%d secrets", len(list))
	}
	return list[2]
}

// wrapped returns data as base64 in lines.
func wrapped(t *testing.T, data []byte) []byte {
	t.Helper()
	cmd := exec.Command(harness.Tool(t, "base64"))
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	check(t, err)
	return out
}
