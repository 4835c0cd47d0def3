package file

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/imasign/imasign-build/internal/keyscan"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// seeds adds a key in every format.
func seeds(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	sec1, _ := x509.MarshalECPrivateKey(key)
	clearDER, _ := x509.MarshalPKCS8PrivateKey(key)
	old, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", sec1, []byte("secret"), x509.PEMCipherAES128) //nolint:staticcheck // the old format is what is tested
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"aes128-sha1", "des3-sha224", "scrypt"} {
		data, err := os.ReadFile("testdata/" + name + ".key")
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(data)
		f.Add(data)
		f.Add(block.Bytes)
	}
	for _, der := range [][]byte{sec1, clearDER} {
		f.Add(der)
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	f.Add(pem.EncodeToMemory(old))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n"))
}

// FuzzLoad checks that any content gives a key or an error.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		private, public, err := load(context.Background(), "fuzz.key", data, keystore.Options{})
		if err == nil && (private == nil || public == nil) {
			t.Error("neither key nor error")
		}
	})
}

// FuzzHolds checks that keyscan finds every key that load accepts.
func FuzzHolds(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		holds := keyscan.Holds(data)
		private, _, err := load(context.Background(), "fuzz.key", data, keystore.Options{})
		if err == nil && private != nil && !holds {
			t.Error("the key is not noticed")
		}
	})
}

// FuzzUnlock skips the derivation, whose time is bounded but long.
func FuzzUnlock(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := find(data)
		if err != nil {
			return
		}
		scheme, err := found.encryption()
		if scheme == nil || err != nil {
			return
		}
		scheme.derive = func(_ context.Context, _ []byte, size int) ([]byte, error) { return make([]byte, size), nil }
		if der, err := scheme.decrypt(context.Background(), nil); err == nil {
			_, _ = parse(der)
		}
	})
}
