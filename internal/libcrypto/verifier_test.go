//go:build cgo && linux

package libcrypto

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"
)

func TestVerifier(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []crypto.Signer{rsaKey, ecdsaKey} {
		testVerifier(t, private)
	}
}

func testVerifier(t *testing.T, private crypto.Signer) {
	t.Helper()
	v, err := load(t).NewVerifier(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA3_256} {
		digest := make([]byte, h.Size())
		signature, err := private.Sign(nil, digest, h)
		if err != nil {
			t.Fatal(err)
		}
		other := append([]byte{1}, digest[1:]...)
		wrong := bytes.Clone(signature)
		wrong[len(wrong)-1] ^= 1
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				if !v.Valid(h, digest, signature) {
					t.Errorf("%s: a valid signature is refused", h)
				}
				for what, accepted := range map[string]bool{
					"another digest":   v.Valid(h, other, signature),
					"a changed byte":   v.Valid(h, digest, wrong),
					"a byte less":      v.Valid(h, digest, signature[1:]),
					"a byte more":      v.Valid(h, digest, append(signature[:len(signature):len(signature)], 0)),
					"no signature":     v.Valid(h, digest, nil),
					"a shorter digest": v.Valid(h, digest[1:], signature),
					"another hash":     v.Valid(crypto.SHA384, bytes.Repeat([]byte{1}, 48), signature),
				} {
					if accepted {
						t.Errorf("%s: %s is accepted", h, what)
					}
				}
			})
		}
		callers.Wait()
	}
}
