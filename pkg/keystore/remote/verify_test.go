package remote

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// TestVerify checks that each signature of a batch is verified, with and without libcrypto, in
// every form.
func TestVerify(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []crypto.Signer{rsaKey, ecdsaKey} {
		public, err := ima.BareKey(private.Public())
		if err != nil {
			t.Fatal(err)
		}
		verifier := fastVerifier(public)
		for _, k := range []*key{{public: public}, {public: public, fast: verifier}} {
			if !k.VerifiesWith(private.Public()) || k.VerifiesWith(other.Public()) {
				t.Error("it verifies with another key")
			}
			for _, form := range []ima.Form{ima.ContentSignature(), ima.ContentSignature().V3()} {
				testVerify(t, k, ima.FromRaw(ima.CryptoSigner(private), public), form)
			}
		}
	}
}

func testVerify(t *testing.T, k *key, signer ima.Signer, form ima.Form) {
	t.Helper()
	const n = 3*minShare + 1
	b := &batch{form: form, hash: ima.SHA256}
	for i := range n {
		digest := sha256.Sum256([]byte{byte(i)})
		b.digests = append(b.digests, digest[:])
	}
	signatures, err := signer.Sign(t.Context(), form, b.hash, b.digests)
	if err == nil {
		err = k.verify(b, signatures)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, minShare - 1, minShare, n / 2, n - 1} {
		right := signatures[i]
		for name, wrong := range map[string][]byte{"changed": bytes.Clone(right), "another": signatures[(i+1)%n], "empty": nil} {
			if name == "changed" {
				wrong[len(wrong)-1] ^= 1
			}
			signatures[i] = wrong
			if err := k.verify(b, signatures); !errors.Is(err, errForeign) || !errors.Is(err, ima.ErrBadSignature) && !errors.Is(err, ima.ErrDigestMismatch) {
				t.Errorf("%s, version %d, signature %d is %s: %v", k.public.Algorithm(), form.Version, i, name, err)
			}
		}
		signatures[i] = right
	}
}
