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
	"errors"
	"math/big"
	"testing"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// TestDigestInfo pads a DigestInfo and signs it with the numbers of a private key, as a token
// does. crypto/rsa must verify the signature.
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
		der, err := ecdsaOf(32)(raw)
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, der) {
			t.Fatalf("%x becomes %x: %v", raw, der, err)
		}
	}
	for _, raw := range [][]byte{nil, {1}, {1, 2, 3}, {1, 2}, make([]byte, 64), make([]byte, 66), append(make([]byte, 63), 1)} {
		if _, err := ecdsaOf(32)(raw); err == nil {
			t.Errorf("%x is taken", raw)
		}
	}
}

func TestECDSATakesOnlyDigestsOfTheHash(t *testing.T) {
	for _, c := range []struct {
		hash crypto.Hash
		size int
	}{{crypto.SHA256, 31}, {crypto.SHA256, 33}, {crypto.SHA256, 64}, {crypto.SHA512, 32}, {crypto.SHA384, 0}, {crypto.MD5, 16}, {crypto.SHA1, 20}, {0, 32}, {99, 32}} {
		if _, err := truncated(32)(c.hash, make([]byte, c.size)); !errors.Is(err, keystore.ErrKeyUse) {
			t.Errorf("%d bytes by %d: %v", c.size, c.hash, err)
		}
	}
	if got, err := truncated(32)(crypto.SHA512, make([]byte, 64)); err != nil || len(got) != 32 {
		t.Errorf("SHA-512 for P-256: %d bytes, %v", len(got), err)
	}
}
