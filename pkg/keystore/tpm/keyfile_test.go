package tpm

import (
	"encoding/pem"
	"errors"
	"os"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestParseFile reads a key file of OpenSSL's tpm2 provider (RSA-2048) and one of
// ssh-tpm-agent's library (P-256, with an authorization value).
func TestParseFile(t *testing.T) {
	for file, want := range map[string]struct {
		kind  tpm2.TPMAlgID
		empty bool
	}{"openssl-rsa.key": {tpm2.TPMAlgRSA, true}, "ssh-p256.key": {tpm2.TPMAlgECC, false}} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found, err := parseFile(data)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if found.key.KeyAlgo() != want.kind || found.key.EmptyAuth != want.empty {
			t.Errorf("%s: kind %#x, empty authorization %v", file, found.key.KeyAlgo(), found.key.EmptyAuth)
		}
		if _, err := parseFile(append(data, data...)); !errors.Is(err, keystore.ErrSeveralKeys) {
			t.Errorf("two keys: %v", err)
		}
		for _, cut := range []int{1, len(data) / 2, len(data) - 30} {
			if _, err := parseFile(data[:cut]); !errors.Is(err, keystore.ErrNotAKey) {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
	}
}

// FuzzParseKey checks that neither reading a key file nor checking its public part crashes.
func FuzzParseKey(f *testing.F) {
	for _, file := range []string{"openssl-rsa.key", "ssh-p256.key"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(data)
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := parseKey(der)
		if err != nil {
			return
		}
		public, err := key.Pubkey.Contents()
		if err != nil {
			return
		}
		if _, err := usable(public); err == nil {
			_, _ = tpm2.Pub(*public)
		}
	})
}

func TestTemplates(t *testing.T) {
	for _, algorithm := range []string{"rsa2048", "rsa3072", "rsa4096", "p256", "p384"} {
		public, err := template(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		read, err := tpm2.Unmarshal[tpm2.TPMTPublic](tpm2.Marshal(public))
		if err != nil {
			t.Fatal(err)
		}
		if bound, err := usable(read); err != nil || bound != tpm2.TPMAlgNull || !read.ObjectAttributes.FixedTPM {
			t.Errorf("%s: bound to %#x, %v", algorithm, bound, err)
		}
	}
	for _, algorithm := range []string{"p521", "mldsa65"} {
		if _, err := template(algorithm); !errors.Is(err, keystore.ErrUnsupportedKey) {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}
