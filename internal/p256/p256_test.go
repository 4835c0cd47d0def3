package p256

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"errors"
	"math/big"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/imasign/imasign-build/pkg/ima"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB, private *ecdsa.PrivateKey, public *ecdsa.PublicKey) *Signer {
	t.Helper()
	s, err := NewSigner(private, public)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digests(size, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = make([]byte, size)
		_, _ = rand.Read(list[i])
	}
	return list
}

// TestSign has crypto/ecdsa verify and repeat what is made.
func TestSign(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key, &key.PublicKey)
	for _, h := range []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256} {
		list := digests(h.Size(), 130)
		signatures, err := s.SignRaw(t.Context(), h, list)
		if err != nil {
			t.Fatalf("%s: %v", h, err)
		}
		for i, digest := range list {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest, signatures[i]) {
				t.Fatalf("%s, digest %d: crypto/ecdsa refuses it", h, i)
			}
			if same, err := key.Sign(nil, digest, h); err != nil || !bytes.Equal(same, signatures[i]) {
				t.Fatalf("%s, digest %d: crypto/ecdsa makes another (%v)", h, i, err)
			}
		}
	}
}

func TestWrongCertificate(t *testing.T) {
	key, other := newKey(t), newKey(t)
	s := newSigner(t, key, &other.PublicKey)
	if _, err := s.SignRaw(t.Context(), crypto.SHA256, digests(32, 3)); !errors.Is(err, ErrVerify) {
		t.Errorf("got %v", err)
	}
	if s.VerifiesWith(&key.PublicKey) || !s.VerifiesWith(&other.PublicKey) {
		t.Error("VerifiesWith names the wrong key")
	}
}

func TestRefuses(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key, &key.PublicKey)
	if _, err := s.SignRaw(t.Context(), crypto.SHA256, digests(31, 1)); !errors.Is(err, ima.ErrDigestSize) {
		t.Errorf("a digest of the wrong size: %v", err)
	}
	if _, err := s.SignRaw(t.Context(), 0, digests(32, 1)); !errors.Is(err, ima.ErrUnsupportedHash) {
		t.Errorf("hash 0: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.SignRaw(ctx, crypto.SHA256, digests(32, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.SignRaw(t.Context(), crypto.SHA256, digests(32, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if _, err := NewSigner(p384, &p384.PublicKey); !errors.Is(err, ErrCurve) {
		t.Errorf("P-384: %v", err)
	}
}

// TestVerifiesEach damages one of many signatures: it must be noticed at any place.
func TestVerifiesEach(t *testing.T) {
	key := newKey(t)
	s := newSigner(t, key, &key.PublicKey)
	list := digests(32, 9)
	signatures, err := s.SignRaw(t.Context(), crypto.SHA256, list)
	if err != nil {
		t.Fatal(err)
	}
	table, _ := s.table()
	for i := range list {
		list[i][7] ^= 1
		if table.verify(list, signatures) {
			t.Errorf("signature %d is of another digest, and passed", i)
		}
		list[i][7] ^= 1
	}
	if !table.verify(list, signatures) {
		t.Error("what was signed does not pass")
	}
}

// TestLikeCryptoECDSA compares with crypto/ecdsa where the formulas have their
// exceptions, and on damaged encodings.
func TestLikeCryptoECDSA(t *testing.T) {
	key := newKey(t)
	signer := newSigner(t, key, &key.PublicKey)
	n := key.Params().N
	d := new(big.Int).SetBytes(must(key.Bytes()))
	nonce := new(big.Int).SetBytes(digests(31, 1)[0])
	point := newKeyOf(t, nonce)
	r := new(big.Int).Mod(new(big.Int).SetBytes(must(point.PublicKey.Bytes())[1:33]), n)
	rd := mod(new(big.Int).Mul(r, d), n)
	s := mod(new(big.Int).Mul(new(big.Int).Lsh(rd, 1), new(big.Int).ModInverse(nonce, n)), n)
	zero, one := new(big.Int), big.NewInt(1)
	minus := new(big.Int).Sub(n, rd)
	ordinary := func(z *big.Int) *big.Int { // s of digest z with that nonce
		return mod(new(big.Int).Mul(new(big.Int).Add(z, rd), new(big.Int).ModInverse(nonce, n)), n)
	}
	for name, c := range map[string]struct {
		z, r, s *big.Int
		valid   bool
	}{
		"u1·G equals u2·Q":    {rd, r, s, true},
		"the infinite point":  {minus, r, s, false},
		"digest 0":            {zero, r, ordinary(zero), true},
		"digest n":            {n, r, ordinary(zero), true},
		"digest above n":      {new(big.Int).Add(n, one), r, ordinary(one), true},
		"the other s":         {one, r, new(big.Int).Sub(n, ordinary(one)), true},
		"r 0":                 {one, zero, s, false},
		"s 0":                 {one, r, zero, false},
		"r n":                 {one, n, s, false},
		"s n":                 {one, r, n, false},
		"r too large by n":    {one, new(big.Int).Add(r, n), ordinary(one), false},
		"negative r":          {one, new(big.Int).Neg(r), ordinary(one), false},
		"of another digest":   {big.NewInt(2), r, ordinary(one), false},
		"of that very digest": {one, r, ordinary(one), true},
	} {
		digest, signature := c.z.FillBytes(make([]byte, 32)), encode(c.r, c.s)
		if got := compare(t, signer, digest, signature); got != c.valid {
			t.Errorf("%s: valid is %t", name, got)
		}
		for i := range signature {
			damaged := bytes.Clone(signature)
			damaged[i] ^= 1 << (i % 8)
			compare(t, signer, digest, damaged)
			compare(t, signer, digest, signature[:i])
		}
		compare(t, signer, digest, append(signature, 0))
	}
}

// FuzzVerify compares with crypto/ecdsa on any signature.
func FuzzVerify(f *testing.F) {
	key := newKeyOf(f, big.NewInt(1234567))
	signer := newSigner(f, key, &key.PublicKey)
	for _, digest := range [][]byte{make([]byte, 32), bytes.Repeat([]byte{0xff}, 64), {1}} {
		signature, _ := ecdsa.SignASN1(rand.Reader, key, digest)
		f.Add(digest, signature)
	}
	f.Add([]byte{}, []byte{0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01})
	f.Fuzz(func(t *testing.T, digest, signature []byte) { compare(t, signer, digest, signature) })
}

func compare(t testing.TB, s *Signer, digest, signature []byte) bool {
	t.Helper()
	table, err := s.table()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := table.verify([][]byte{digest}, [][]byte{signature}), ecdsa.VerifyASN1(s.public, digest, signature)
	if ours != theirs {
		t.Errorf("digest %x, signature %x: valid is %t here and %t in crypto/ecdsa", digest, signature, ours, theirs)
	}
	return ours
}

func newKeyOf(t testing.TB, d *big.Int) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func mod(v, n *big.Int) *big.Int { return v.Mod(v, n) }

func encode(r, s *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.BytesOrPanic()
}

// BenchmarkSign signs and verifies in batches as pkg/signing does; BenchmarkTable is
// what the first of them costs.
func BenchmarkSign(b *testing.B) {
	key := newKey(b)
	s, list := newSigner(b, key, &key.PublicKey), digests(32, 128)
	for b.Loop() {
		if _, err := s.SignRaw(b.Context(), crypto.SHA256, list); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/signature")
}

func BenchmarkTable(b *testing.B) {
	key := newKey(b)
	for b.Loop() {
		if _, err := newMultiples(&key.PublicKey); err != nil {
			b.Fatal(err)
		}
	}
}
