package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"

	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/tests/harness"
)

const auth = "the-keys-own-auth"

// openssl runs openssl with its tpm2 provider on the TPM.
func openssl(t *testing.T, s *harness.TPM, args ...string) string {
	t.Helper()
	args = append(args, "-provider", "tpm2", "-provider", "default")
	cmd := exec.Command(harness.Tool(t, "openssl"), args...)
	cmd.Env = append(os.Environ(), "TPM2OPENSSL_TCTI="+s.TCTI)
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("openssl %s: %s", strings.Join(args, " "), r.Err)
	}
	return r.Out
}

func at(s *harness.TPM, path string) *place {
	return &place{backends: keystore.Backends{tpm.New()}, uri: "tpm2:" + path + "?device=" + s.Device}
}

func (p *place) signsAs(t *testing.T, public []byte) {
	t.Helper()
	key := p.open(t)
	defer key.Close() // a TPM has three places for keys, and as many for sessions
	if got := publicPEM(t, key); public != nil && !bytes.Equal(got, public) {
		t.Errorf("another key came out:\n%s%s", got, public)
	}
	sigs, err := sign(t.Context(), key, digestsOf(0, 2))
	check(t, err)
	check(t, key.Public.Verify(content(digestsOf(0, 2)[1]), sigs[1]))
}

// TestKeyFilesOfOpenSSL checks that this program opens key files of OpenSSL's tpm2 provider,
// and the provider opens those of this program.
func TestKeyFilesOfOpenSSL(t *testing.T) {
	t.Parallel()
	s := harness.NewTPM(t)
	dir := t.TempDir()
	for name, kind := range map[string][]string{
		"rsa": {"-algorithm", "RSA", "-pkeyopt", "bits:2048"}, "p256": {"-algorithm", "EC", "-pkeyopt", "group:P-256"},
		"auth": {"-algorithm", "EC", "-pkeyopt", "group:P-384", "-pkeyopt", "user-auth:" + auth},
	} {
		path := filepath.Join(dir, name)
		openssl(t, s, append([]string{"genpkey", "-out", path}, kind...)...)
		p := at(s, path)
		if name == "auth" {
			p.uri += "&auth-source=file:" + harness.SecretFile(t, auth)
			p.signsAs(t, nil)
			continue
		}
		p.signsAs(t, []byte(openssl(t, s, "pkey", "-in", path, "-pubout")))
	}
	for _, algorithm := range []string{"rsa2048", "p256"} {
		p := inTPM(t, s, algorithm)
		path := strings.TrimPrefix(strings.Split(p.uri, "?")[0], "tpm2:")
		p.signsAs(t, []byte(openssl(t, s, "pkey", "-in", path, "-pubout")))
		digest, sig, pub := filepath.Join(dir, "digest"), filepath.Join(dir, "sig"), filepath.Join(dir, "pub")
		check(t, os.WriteFile(digest, digestsOf(0, 1)[0], 0o600))
		openssl(t, s, "pkeyutl", "-sign", "-inkey", path, "-in", digest, "-pkeyopt", "digest:sha256", "-out", sig)
		key := p.open(t)
		check(t, os.WriteFile(pub, publicPEM(t, key), 0o600))
		check(t, key.Close())
		harness.Must(t, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", pub, "-in", digest, "-sigfile", sig, "-pkeyopt", "digest:sha256")
	}
}

// TestKeyFilesOfSSH checks key files as ssh-tpm-agent's library writes them: with a description,
// with and without an authorization value.
func TestKeyFilesOfSSH(t *testing.T) {
	s := harness.NewTPM(t)
	device, err := linuxudstpm.Open(strings.TrimPrefix(s.Device, "unix:"))
	check(t, err)
	for name, options := range map[string][]keyfile.TPMKeyOption{
		"plain": {keyfile.WithDescription("somebody@host")}, "auth": {keyfile.WithDescription("x"), keyfile.WithUserAuth([]byte(auth))},
	} {
		made, err := keyfile.NewLoadableKey(device, tpm2.TPMAlgECC, 256, nil, options...)
		check(t, err)
		path := filepath.Join(t.TempDir(), name)
		check(t, os.WriteFile(path, made.Bytes(), 0o600))
		p := at(s, path)
		if name == "auth" {
			p.uri += "&auth-source=" + harness.SecretFile(t, auth)
		}
		public, err := made.PublicKey()
		check(t, err)
		der, err := x509.MarshalPKIXPublicKey(public)
		check(t, err)
		p.signsAs(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	// In the other direction, the library signs with a key made here.
	p := inTPM(t, s, "p256")
	data, err := os.ReadFile(strings.TrimPrefix(strings.Split(p.uri, "?")[0], "tpm2:"))
	check(t, err)
	key, err := keyfile.Decode(data)
	check(t, err)
	signer, err := key.Signer(device, nil, nil)
	check(t, err)
	sig, err := signer.Sign(nil, digestsOf(0, 1)[0], crypto.SHA256)
	check(t, err)
	check(t, p.open(t).Public.Verify(content(digestsOf(0, 1)[0]), sig))
}

// TestVerifiedByTheTPM checks that tpm2_verifysignature verifies a signature.
func TestVerifiedByTheTPM(t *testing.T) {
	t.Parallel()
	s := harness.NewTPM(t)
	for algorithm, format := range map[string]string{"rsa2048": "rsassa", "p256": "ecdsa"} {
		key := inTPM(t, s, algorithm).open(t)
		digest := digestsOf(5, 1)
		sigs, err := sign(t.Context(), key, digest)
		check(t, err)
		check(t, key.Close())
		file := func(name string, data []byte) string {
			path := filepath.Join(t.TempDir(), name)
			check(t, os.WriteFile(path, data, 0o600))
			return path
		}
		public := filepath.Join(t.TempDir(), "context")
		kind := map[string]string{"rsassa": "rsa", "ecdsa": "ecc"}[format]
		s.Tool(t, "tpm2_loadexternal", "-C", "n", "-G", kind, "-u", file("pub", publicPEM(t, key)), "-c", public)
		s.Tool(t, "tpm2_verifysignature", "-c", public, "-f", format, "-d", file("digest", digest[0]), "-s", file("sig", sigs[0]))
		s.Tool(t, "tpm2_flushcontext", "--transient-object")
	}
}
