//go:build cgo && linux

package libcrypto

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"
)

func TestVerifier(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	v, err := load(t).NewVerifier(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA512, crypto.SHA3_256} {
		digest := make([]byte, h.Size())
		signature, err := rsa.SignPKCS1v15(nil, private, h, digest)
		if err != nil {
			t.Fatal(err)
		}
		other := append([]byte{1}, digest[1:]...)
		wrong := append([]byte{signature[0] ^ 1}, signature[1:]...)
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
					"another hash":     v.Valid(crypto.SHA384, make([]byte, 48), signature),
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
