package keystore_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo returns a Key whose Provider is the URI that its backend got.
func echo(_ context.Context, uri string, _ keystore.Options) (*keystore.Key, error) {
	return &keystore.Key{Provider: uri}, nil
}

func TestOpenFindsTheBackend(t *testing.T) {
	backends := keystore.Backends{{Scheme: "file", Open: echo}, {Scheme: "pkcs11", Open: echo}}
	for uri, want := range map[string]string{
		"x509_ima.key":                    "x509_ima.key",
		"/keys/x509_ima.key":              "/keys/x509_ima.key",
		"dir/with:colon":                  "dir/with:colon",
		"./a:b":                           "./a:b",
		"0a:b":                            "0a:b",
		"file:a:b":                        "a:b",
		"file:x509_ima.key":               "x509_ima.key",
		"file:/keys/x":                    "/keys/x",
		"file:///keys/x":                  "/keys/x",
		"file://localhost/keys/x":         "/keys/x",
		"FILE:/keys/x":                    "/keys/x",
		"file:100%41":                     "100%41",
		"pkcs11:token=T;object=O?pin=abc": "pkcs11:token=T;object=O?pin=abc",
		":x":                              ":x",
	} {
		key, err := backends.Open(context.Background(), uri, keystore.Options{})
		if err != nil || key.Provider != want {
			t.Errorf("%s: got %+v, %v, want %s", uri, key, err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	backends := keystore.Backends{{Scheme: "file", Open: echo}, {Scheme: "pkcs11", Open: echo}}
	for _, c := range []struct {
		uri  string
		is   error
		says []string
		not  string
	}{
		{"vault:secret/ima", keystore.ErrUnknownScheme, []string{`"vault"`, "file, pkcs11", "./"}, "secret/ima"},
		{"tpm2:0x81000001?pin=0815", keystore.ErrSchemeNotBuilt, []string{"tpm2", "file, pkcs11"}, "0815"},
		{"nats://sign", keystore.ErrSchemeNotBuilt, []string{"nats"}, "sign"},
		{"-----BEGIN PRIVATE KEY-----\nMIIE", keystore.ErrNotAKey, []string{"path or URI"}, "MIIE"},
		{"MIIE\nAbCd", keystore.ErrNotAKey, []string{"path or URI"}, "MIIE"},
		{"", nil, []string{"no key is named"}, ""},
		{"file:", nil, []string{"no path"}, ""},
		{"file://", nil, []string{"no path"}, ""},
		{"file://elsewhere/key", nil, []string{"another host", "elsewhere"}, ""},
	} {
		_, err := backends.Open(context.Background(), c.uri, keystore.Options{})
		if err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: got %v, want %v", c.uri, err, c.is)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q does not say %q", c.uri, err, part)
			}
		}
		if c.not != "" && strings.Contains(err.Error(), c.not) {
			t.Errorf("%q: %q repeats what may be secret", c.uri, err)
		}
	}
}

func TestOpenObeysTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	backends := keystore.Backends{{Scheme: "file", Open: echo}}
	if _, err := backends.Open(ctx, "x", keystore.Options{}); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

func certificate(t testing.TB, key crypto.Signer, skid ...byte) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, SubjectKeyId: skid}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func TestBind(t *testing.T) {
	key, other := ecKey(t), ecKey(t)
	bare, err := keystore.Bind(key.Public(), nil)
	check(t, err)
	if bare.Certificate() != nil {
		t.Error("a certificate from nowhere")
	}
	cert := certificate(t, key, 9, 1, 2, 3, 4)
	bound, err := keystore.Bind(key.Public(), cert)
	check(t, err)
	if bound.ID() != 0x01020304 || bound.Certificate() != cert {
		t.Errorf("got %v", bound.ID())
	}
	bareOther, err := ima.BareKey(other.Public())
	check(t, err)
	_, err = keystore.Bind(other.Public(), cert)
	if !errors.Is(err, keystore.ErrCertificateMismatch) {
		t.Fatalf("got %v", err)
	}
	for _, id := range []string{"01020304", bareOther.ID().String()} {
		if !strings.Contains(err.Error(), id) {
			t.Errorf("%v does not name %s", err, id)
		}
	}
	if _, err = keystore.Bind(other.Public(), certificate(t, key)); !errors.Is(err, keystore.ErrCertificateMismatch) || !strings.Contains(err.Error(), "(none)") {
		t.Errorf("got %v", err)
	}
	if _, err = keystore.Bind(key.Public(), certificate(t, key)); !errors.Is(err, ima.ErrNoSubjectKeyID) {
		t.Errorf("got %v", err)
	}
}

func TestPrintingAKeyShowsNoKeyMaterial(t *testing.T) {
	private := ecKey(t)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	key := keystore.NewKey(ima.CryptoSigner(private), public)
	want := "key " + public.ID().String() + " (p256)"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		if got := fmt.Sprintf(verb, key); got != want {
			t.Errorf("%s of pointer: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, *key); got != want {
			t.Errorf("%s of value: %s", verb, got)
		}
	}
	if got := fmt.Sprint(&keystore.Key{}); got != "no key" {
		t.Errorf("got %s", got)
	}
}

func TestCloseReleasesOnce(t *testing.T) {
	count := 0
	key := &keystore.Key{Release: func() error { count++; return errors.New("token is gone") }}
	if err := key.Close(); err == nil {
		t.Error("the error is lost")
	}
	check(t, key.Close())
	if count != 1 {
		t.Errorf("released %d times", count)
	}
	check(t, (&keystore.Key{}).Close())
}

// verifying is a RawSigner that verifies its signatures.
type verifying struct{ ima.RawSigner }

func (verifying) VerifiesWith(crypto.PublicKey) bool { return true }

func TestVerifiesWithAsksTheSigner(t *testing.T) {
	private := ecKey(t)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	raw := ima.CryptoSigner(private)
	var self ima.SelfVerifying = keystore.NewKey(verifying{raw}, public)
	if !self.VerifiesWith(nil) {
		t.Error("a signer that verifies is not asked")
	}
	if keystore.NewKey(raw, public).VerifiesWith(nil) {
		t.Error("a signer that does not verify is trusted")
	}
}

// TestCryptoSigner checks that hash 0 and PSS are refused, and that a Key that signs only
// statements cannot be a crypto.Signer.
func TestCryptoSigner(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	key := keystore.NewKey(ima.CryptoSigner(private), public)
	digest := sha256.Sum256([]byte("a"))
	sig, err := key.CryptoSigner(t.Context()).Sign(nil, digest[:], crypto.SHA256)
	check(t, err)
	check(t, rsa.VerifyPKCS1v15(&private.PublicKey, crypto.SHA256, digest[:], sig))
	for _, c := range []struct {
		key  *keystore.Key
		opts crypto.SignerOpts
		want error
	}{
		{key, crypto.Hash(0), ima.ErrUnsupportedHash},
		{key, &rsa.PSSOptions{Hash: crypto.SHA256}, keystore.ErrUnsupportedKey},
		{&keystore.Key{Signer: key.Signer, Public: public}, crypto.SHA256, keystore.ErrKeyUse},
	} {
		if sig, err := c.key.CryptoSigner(t.Context()).Sign(nil, digest[:], c.opts); !errors.Is(err, c.want) || sig != nil {
			t.Errorf("%v: got %x, %v", c.opts, sig, err)
		}
	}
}
