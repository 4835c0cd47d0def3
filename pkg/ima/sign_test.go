package ima_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func signingHashes() []ima.HashID {
	return []ima.HashID{ima.SHA224, ima.SHA256, ima.SHA384, ima.SHA512, ima.SHA3_256, ima.SHA3_384, ima.SHA3_512}
}

func TestSignAndVerify(t *testing.T) {
	ctx := context.Background()
	for _, key := range []crypto.Signer{
		rsaKey(), ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P384()), ecdsaKey(t, elliptic.P521()),
	} {
		pub := certificateKey(t, key, 1, 2, 3, 4)
		ring := ima.NewKeyring(pub)
		for _, h := range signingHashes() {
			digests := [][]byte{sum(h, "a"), sum(h, "b")}
			values, err := ima.Sign(ctx, ima.FromRaw(ima.CryptoSigner(key), pub), pub, ima.ContentSignature(), h, digests)
			check(t, err)
			again, err := ima.Sign(ctx, ima.FromRaw(ima.CryptoSigner(key), pub), pub, ima.ContentSignature(), h, digests)
			check(t, err)
			for i, value := range values {
				check(t, verify(ring, value, digests[i]))
				if verify(ring, value, digests[1-i]) == nil {
					t.Errorf("%s %s: value %d verifies the other digest", pub.Algorithm(), h, i)
				}
				if !bytes.Equal(value, again[i]) {
					t.Errorf("%s %s: signing again gives other bytes", pub.Algorithm(), h)
				}
				if v, err := ima.Parse(value); err != nil || v.Hash != h || v.KeyID != 0x01020304 || v.Version != 2 {
					t.Errorf("%s %s: made %v, %v", pub.Algorithm(), h, v, err)
				}
			}
		}
	}
}

// TestSignIsDeterministic makes the signature of "sample" in RFC 6979, A.2.5.
func TestSignIsDeterministic(t *testing.T) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(),
		unhex(t, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	check(t, err)
	values, err := ima.Sign(context.Background(), rawSigner(t, key), certificateKey(t, key, 0xa, 0xb, 0xc, 0xd),
		ima.ContentSignature(), ima.SHA256, [][]byte{sum(ima.SHA256, "sample")})
	check(t, err)
	want := unhex(t, "03 02 04 0a0b0c0d 0048 3046"+
		"022100 efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"+
		"022100 f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")
	if !bytes.Equal(values[0], want) {
		t.Errorf("got  %x\nwant %x", values[0], want)
	}
}

func TestSignRefused(t *testing.T) {
	ctx, key := context.Background(), ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	s := ima.FromRaw(ima.CryptoSigner(key), pub)
	for _, tc := range []struct {
		h      ima.HashID
		digest []byte
		want   ima.Refusal
	}{
		{ima.SHA1, sum(ima.SHA1, ""), ima.ErrSHA1},
		{ima.MD5, sum(ima.MD5, ""), ima.ErrSHA1},
		{ima.MD4, make([]byte, 16), ima.ErrSHA1},
		{ima.SM3, make([]byte, 32), ima.ErrUnsupportedHash},
		{23, make([]byte, 32), ima.ErrUnknownHash},
		{ima.SHA256, make([]byte, 31), ima.ErrDigestSize},
		{ima.SHA256, nil, ima.ErrDigestSize},
	} {
		for _, f := range []ima.Form{ima.ContentSignature(), ima.PortableSignature(), ima.VeritySignature()} {
			values, err := ima.Sign(ctx, s, pub, f, tc.h, [][]byte{tc.digest})
			if refused(t, err, tc.want); values != nil {
				t.Errorf("%s: Sign returns values and %v", tc.h, err)
			}
		}
	}
	_, err := ima.Sign(ctx, ima.FromRaw(ima.CryptoSigner(ecdsaKey(t, elliptic.P256())), pub), pub, ima.ContentSignature(), ima.SHA256, [][]byte{sum(ima.SHA256, "")})
	refused(t, err, ima.ErrBadSignature)
	_, err = ima.Sign(ctx, ima.FromRaw(ima.CryptoSigner(rsaKey()), pub), pub, ima.ContentSignature(), ima.SHA256, [][]byte{sum(ima.SHA256, "")})
	refused(t, err, ima.ErrBadSignature)
}

// signFunc is a Signer. selfVerifying is a Signer that claims to verify with pub.
type signFunc func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error)

func (sign signFunc) Sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	return sign(ctx, f, h, digests)
}

type selfVerifying struct {
	signFunc
	pub crypto.PublicKey
}

func (s selfVerifying) VerifiesWith(pub crypto.PublicKey) bool {
	return s.pub.(interface{ Equal(crypto.PublicKey) bool }).Equal(pub)
}

func TestFaultySigners(t *testing.T) {
	ctx, key := context.Background(), ecdsaKey(t, elliptic.P256())
	pub, digests := certificateKey(t, key, 1, 2, 3, 4), [][]byte{sum(ima.SHA256, "a"), sum(ima.SHA256, "b")}
	returning := func(sigs ...[]byte) signFunc {
		return func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) { return sigs, nil }
	}
	boom := errors.New("boom")
	for name, s := range map[string]ima.Signer{
		"one for two":        selfVerifying{returning([]byte("x")), key.Public()},
		"three for two":      selfVerifying{returning([]byte("x"), []byte("x"), []byte("x")), key.Public()},
		"garbage":            returning([]byte("x"), []byte("y")),
		"wrong key verified": selfVerifying{returning([]byte("x"), []byte("y")), rsaKey().Public()},
		"empty":              selfVerifying{returning([]byte("x"), nil), key.Public()},
		"too long":           selfVerifying{returning([]byte("x"), make([]byte, 1<<16)), key.Public()},
	} {
		if values, err := ima.Sign(ctx, s, pub, ima.ContentSignature(), ima.SHA256, digests); err == nil || values != nil {
			t.Errorf("%s: %v, %v", name, values, err)
		}
	}
	failing := signFunc(func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) { return nil, boom })
	if _, err := ima.Sign(ctx, failing, pub, ima.ContentSignature(), ima.SHA256, digests); !errors.Is(err, boom) {
		t.Errorf("the signer's error is lost: %v", err)
	}
	trusted := selfVerifying{returning([]byte("x"), []byte("y")), key.Public()}
	if values, err := ima.Sign(ctx, trusted, pub, ima.ContentSignature(), ima.SHA256, digests); err != nil || len(values) != 2 {
		t.Errorf("the signatures of a self-verifying signer are verified again: %v", err)
	}
}

func TestSignObeysContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	key := ecdsaKey(t, elliptic.P256())
	_, err := ima.Sign(ctx, rawSigner(t, key), certificateKey(t, key, 1, 2, 3, 4), ima.ContentSignature(), ima.SHA256, [][]byte{sum(ima.SHA256, "")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDigestValue(t *testing.T) {
	digest := sum(ima.SHA256, "")
	if got, want := ima.DigestValue(ima.SHA256, digest), append([]byte{4, 4}, digest...); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := ima.DigestValue(ima.SHA256, digest[1:]); got != nil {
		t.Errorf("a short digest gives %x", got)
	}
	if got := ima.DigestValue(99, digest); got != nil {
		t.Errorf("an unknown hash gives %x", got)
	}
}

func TestOneAllocationPerValue(t *testing.T) {
	const n = 100
	key := ecdsaKey(t, elliptic.P256())
	pub := certificateKey(t, key, 1, 2, 3, 4)
	digests, sigs := make([][]byte, n), make([][]byte, n)
	for i := range digests {
		digests[i], sigs[i] = sum(ima.SHA256, ""), make([]byte, 72)
	}
	s := selfVerifying{func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) { return sigs, nil }, key.Public()}
	allocs := testing.AllocsPerRun(20, func() { _, _ = ima.Sign(context.Background(), s, pub, ima.ContentSignature(), ima.SHA256, digests) })
	if allocs > n+10 { // a few are for the whole batch
		t.Errorf("%v allocations for %d values", allocs, n)
	}
}
