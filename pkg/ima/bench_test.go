package ima_test

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func BenchmarkParse(b *testing.B) {
	value := unhex(b, "03 02 04 1a2b3c4d 0100"+strings.Repeat("aa", 256))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ima.Parse(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	f, keys := loadVectors(b)
	for _, vector := range f.Vectors {
		if vector.Command != "ima_sign -a sha256" {
			continue
		}
		value, digest := unhex(b, vector.Value), sum(ima.SHA256, f.Content)
		ring := ima.NewKeyring(keys[vector.Key])
		b.Run(vector.Key, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := verify(ring, value, digest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSign measures signing and verifying. "values" measures what this package adds
// to a signer that verifies its own signatures.
func BenchmarkSign(b *testing.B) {
	p256 := ecdsaKey(b, elliptic.P256())
	fixed := make([]byte, 256)
	instant := selfVerifying{func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) {
		return [][]byte{fixed}, nil
	}, rsaKey().Public()}
	for _, bm := range []struct {
		name string
		key  crypto.Signer
		s    ima.Signer
	}{
		{"rsa2048", rsaKey(), rawSigner(b, rsaKey())},
		{"p256", p256, rawSigner(b, p256)},
		{"values", rsaKey(), instant},
	} {
		pub, digests := certificateKey(b, bm.key, 1, 2, 3, 4), [][]byte{sum(ima.SHA256, "a")}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ima.Sign(context.Background(), bm.s, pub, ima.ContentSignature(), ima.SHA256, digests); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
