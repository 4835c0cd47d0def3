package ima_test

import (
	"bytes"
	"crypto/ecdsa"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// FuzzParse checks that no input panics, and that an accepted value has one encoding.
func FuzzParse(f *testing.F) {
	vectors, _ := loadVectors(f)
	for _, v := range vectors.Vectors {
		f.Add(unhex(f, v.Value))
	}
	for _, s := range []string{
		"", "00", "0302", "03020a", legacyHex + "abcd", "01" + sha1Hex, "02" + sha1Hex,
		"0603041a2b3c4d0001aa", "0303041a2b3c4d0001aa", "0302041a2b3c4d0100aa",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ima.Parse(b)
		if err != nil {
			if ima.Reason(err) == "" {
				t.Errorf("%x: the error has no reason: %v", b, err)
			}
			return
		}
		if got := v.Append(nil); !bytes.Equal(got, b) {
			t.Errorf("Append gives %x for %x", got, b)
		}
		if v.String() == "" || v.IsSignature() != (v.Signature != nil) || v.IsSignature() == (v.Digest != nil) {
			t.Errorf("%x: parsed as %+v", b, v)
		}
	})
}

// verifier has the keys of testdata/evmctl.json and every value that is valid with them:
// the signatures of that file over one content, and for each ECDSA signature (r, s) its
// twin (r, n-s), which is valid too.
type verifier struct {
	ring    *ima.Keyring
	content string
	valid   [][]byte
}

func newVerifier(t testing.TB) verifier {
	f, keys := loadVectors(t)
	v := verifier{content: f.Content}
	var all []*ima.PublicKey
	for _, key := range keys {
		all = append(all, key)
	}
	v.ring = ima.NewKeyring(all...)
	for _, vector := range f.Vectors {
		if strings.HasPrefix(vector.Command, "ima_sign -a") {
			value := unhex(t, vector.Value)
			v.valid = append(v.valid, value)
			v.addTwin(t, value, keys[vector.Key])
		}
	}
	return v
}

func (v *verifier) addTwin(t testing.TB, value []byte, key *ima.PublicKey) {
	if pub, ok := key.Public().(*ecdsa.PublicKey); ok {
		parsed, err := ima.Parse(value)
		check(t, err)
		parsed.Signature = twin(t, pub.Curve, parsed.Signature)
		v.valid = append(v.valid, parsed.Append(nil))
	}
}

// accepts verifies a value as a caller does: it hashes the content with the value's hash.
func (v *verifier) accepts(value []byte) bool {
	digest := make([]byte, 32)
	if parsed, err := ima.Parse(value); err == nil {
		if _, ok := parsed.Hash.CryptoHash(); ok {
			digest = sum(parsed.Hash, v.content)
		}
	}
	return verify(v.ring, value, digest) == nil
}

func (v *verifier) isValid(value []byte) bool {
	return slices.ContainsFunc(v.valid, func(known []byte) bool { return bytes.Equal(known, value) })
}

// FuzzKeyringVerify checks that only the exact bytes of known signatures are valid.
func FuzzKeyringVerify(f *testing.F) {
	v := newVerifier(f)
	for _, value := range v.valid {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if got, want := v.accepts(value), v.isValid(value); got != want {
			t.Errorf("valid: %v, want %v: %x", got, want, value)
		}
	})
}

// headerSize is the size of struct signature_v2_hdr in bytes.
const headerSize = 9

// TestEveryBitCounts flips each bit, drops each byte and doubles each byte of an RSA and
// of an ECDSA signature.
func TestEveryBitCounts(t *testing.T) {
	v := newVerifier(t)
	for _, value := range v.valid {
		parsed, err := ima.Parse(value)
		check(t, err)
		if !v.accepts(value) {
			t.Fatalf("%v is not valid", parsed)
		}
		if quick := len(value) == headerSize+256 || len(value) < 100; !quick || parsed.Hash != ima.SHA256 {
			continue // rsa2048 and p256 stand for the other keys, which verify slowly
		}
		for i := range value {
			for bit := range 8 {
				value[i] ^= 1 << bit
				if v.accepts(value) && !v.isValid(value) {
					t.Errorf("%v: valid with bit %d of byte %d flipped", parsed, bit, i)
				}
				value[i] ^= 1 << bit
			}
			if v.accepts(slices.Delete(bytes.Clone(value), i, i+1)) || v.accepts(slices.Insert(bytes.Clone(value), i, value[i])) {
				t.Errorf("%v: valid with byte %d dropped or doubled", parsed, i)
			}
		}
	}
}
