//go:build cgo && linux

package libcrypto

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

func TestECDSA(t *testing.T) {
	curves := []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}
	if testing.Short() {
		curves = curves[:1]
	}
	for _, curve := range curves {
		t.Run(curve.Params().Name, func(t *testing.T) { testCurve(t, curve) })
	}
}

func testCurve(t *testing.T, curve elliptic.Curve) {
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := load(t).NewECDSA(private, &private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA224, crypto.SHA512, crypto.SHA3_256}
	if curve != elliptic.P256() && !harness.Nightly() { // the others are slow
		hashes = hashes[:2]
	}
	for _, h := range hashes {
		list := digests(h, batchSize+3)
		signatures, err := signer.SignRaw(t.Context(), h, list)
		if err != nil {
			t.Fatalf("%s: %v", h, err)
		}
		for i := range list {
			if !ecdsa.VerifyASN1(&private.PublicKey, list[i], signatures[i]) {
				t.Fatalf("%s, digest %d: crypto/ecdsa refuses it", h, i)
			}
		}
		again, err := signer.SignRaw(t.Context(), h, list[:1])
		if err != nil || !bytes.Equal(again[0], signatures[0]) {
			t.Errorf("%s: another signature the second time (%v)", h, err)
		}
	}
	if _, err := signer.SignRaw(t.Context(), 0, digests(crypto.SHA256, 1)); !errors.Is(err, ima.ErrUnsupportedHash) {
		t.Errorf("hash 0: %v", err)
	}
	if err := signer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := signer.SignRaw(t.Context(), crypto.SHA256, digests(crypto.SHA256, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestECDSAWrongCertificate(t *testing.T) {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signer, err := load(t).NewECDSA(private, &other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	defer signer.Close()
	if _, err := signer.SignRaw(t.Context(), crypto.SHA256, digests(crypto.SHA256, 3)); !errors.Is(err, ErrVerify) {
		t.Errorf("got %v", err)
	}
	if signer.VerifiesWith(&private.PublicKey) || !signer.VerifiesWith(&other.PublicKey) {
		t.Error("VerifiesWith names the wrong key")
	}
}

// TestECDSAVerifiesEach checks that one damaged signature among many is noticed
// wherever it is. This shows that a batch is split where it was joined.
func TestECDSAVerifiesEach(t *testing.T) {
	private, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signer, err := load(t).NewECDSA(private, &private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	defer signer.Close()
	list := digests(crypto.SHA256, batchSize+2)
	signatures, err := signer.SignRaw(t.Context(), crypto.SHA256, list)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, batchSize - 1, batchSize, batchSize + 1} {
		signatures[i][len(signatures[i])-1] ^= 1
		if err := signer.verify(crypto.SHA256, list, signatures); !errors.Is(err, ErrVerify) {
			t.Errorf("damaged signature %d: %v", i, err)
		}
		signatures[i][len(signatures[i])-1] ^= 1
	}
	if err := signer.verify(crypto.SHA256, list, signatures); err != nil {
		t.Errorf("undamaged: %v", err)
	}
}
