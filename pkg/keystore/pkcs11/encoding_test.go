package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"math/big"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestDigestInfo: crypto/rsa verifies what a token makes of it, which pads and
// computes, as is done here with the private key's numbers.
func TestDigestInfo(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512} {
		digest := bytes.Repeat([]byte{7}, h.Size())
		info, err := digestInfo(h, digest)
		if err != nil {
			t.Fatal(err)
		}
		block := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, key.Size()-3-len(info))...)
		block = append(append(block, 0), info...)
		sig := new(big.Int).Exp(new(big.Int).SetBytes(block), key.D, key.N).FillBytes(make([]byte, key.Size()))
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, h, digest, sig); err != nil {
			t.Errorf("%s: %v", h, err)
		}
		if _, err := digestInfo(h, digest[1:]); err == nil {
			t.Errorf("%s: a digest that is too short is taken", h)
		}
	}
	if _, err := digestInfo(crypto.MD5, make([]byte, 16)); err == nil {
		t.Error("MD5 is taken")
	}
}

func TestECDSAEncoding(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	for range 50 { // r and s begin with zeros and with ones
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		der, err := ecdsaDER(raw)
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, der) {
			t.Fatalf("%x becomes %x: %v", raw, der, err)
		}
	}
	for _, raw := range [][]byte{nil, {1}, {1, 2, 3}} {
		if _, err := ecdsaDER(raw); err == nil {
			t.Errorf("%x is taken", raw)
		}
	}
}

var _ keystore.Backend = New().Open

var _ keystore.Generator = New().Generate
