package file

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// mldsaForms returns ML-DSA-44 keys in PKCS #8, in the formats of RFC 9881: seed, expanded key, both.
// crypto/x509 marshals none of them.
func mldsaForms(t testing.TB) map[string][]byte {
	t.Helper()
	marshal := func(value any, params string) []byte {
		der, err := asn1.MarshalWithParams(value, params)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	seed, expanded := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{9}, 2560)
	forms := map[string][]byte{
		"seed":     marshal(seed, "tag:0"),
		"expanded": marshal(expanded, ""),
		"both":     marshal(struct{ Seed, Expanded []byte }{seed, expanded}, ""),
	}
	for name, inner := range forms {
		forms[name] = marshal(struct {
			Version   int
			Algorithm struct{ OID asn1.ObjectIdentifier }
			Key       []byte
		}{0, struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}}, inner}, "")
	}
	return forms
}

// TestEncrypt checks that decryption restores keys of any algorithm and length.
func TestEncrypt(t *testing.T) {
	keys := mldsaForms(t)
	for n := range 16 { // every length of padding
		keys["of another length "+string(rune('a'+n))] = append(bytes.Clone(keys["seed"]), bytes.Repeat([]byte{' '}, n)...)
	}
	for name, der := range keys {
		passphrase, want := []byte("correct horse"), bytes.Clone(der)
		encrypted, err := encrypt(t.Context(), der, passphrase, 10)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(der, want) || string(passphrase) != "correct horse" {
			t.Errorf("%s: the arguments were changed", name)
		}
		if bytes.Contains(encrypted, der[len(der)/2:]) {
			t.Errorf("%s: the key is in clear", name)
		}
		e, err := parseEncryption(encrypted)
		if err != nil || e == nil {
			t.Fatalf("%s: %v, %v", name, e, err)
		}
		if got, err := e.decrypt(t.Context(), passphrase); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
		if _, err := e.decrypt(t.Context(), []byte("wrong")); !errors.Is(err, keystore.ErrWrongPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEncryptIsSalted(t *testing.T) {
	var all [2][]byte
	for i := range all {
		var err error
		if all[i], err = Encrypt(t.Context(), mldsaForms(t)["seed"], []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	var info [2]encryptedPrivateKeyInfo
	for i := range info {
		if _, err := asn1.Unmarshal(all[i], &info[i]); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(info[0].Data, info[1].Data) || bytes.Equal(info[0].Algorithm.Parameters.FullBytes, info[1].Algorithm.Parameters.FullBytes) {
		t.Error("the same salt or IV twice")
	}
}

func TestEncryptRefusals(t *testing.T) {
	if _, err := Encrypt(t.Context(), []byte("key"), make([]byte, 1024)); err != nil {
		t.Error(err)
	}
	if _, err := Encrypt(t.Context(), []byte("key"), make([]byte, 1025)); err == nil { // OpenSSL could not read it
		t.Error("a passphrase of 1,025 bytes is taken")
	}
	if _, err := Encrypt(t.Context(), []byte("key"), nil); !errors.Is(err, keystore.ErrNoSecret) {
		t.Errorf("no passphrase: %v", err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := Encrypt(ctx, []byte("key"), []byte("x")); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDecrypt reads an encrypted key that signs nothing for IMA.
func TestDecrypt(t *testing.T) {
	plain, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	der, err := Encrypt(t.Context(), plain, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for passphrase, want := range map[string]error{"secret": nil, "wrong": keystore.ErrWrongPassphrase} {
		got, err := Decrypt(t.Context(), "identity", der, func(context.Context, string) ([]byte, error) { return []byte(passphrase), nil })
		if !errors.Is(err, want) || bytes.Equal(got, plain) != (want == nil) {
			t.Errorf("%s: %x, %v", passphrase, got, err)
		}
	}
	if _, err := Decrypt(t.Context(), "identity", der, nil); !errors.Is(err, keystore.ErrPassphraseNeeded) {
		t.Errorf("got %v", err)
	}
	if _, err := Decrypt(t.Context(), "identity", plain, nil); !errors.Is(err, keystore.ErrNotAKey) {
		t.Errorf("got %v", err)
	}
}
