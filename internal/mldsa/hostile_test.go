package mldsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

// keyOf returns the same key for the same name in every run.
func keyOf(t testing.TB, name string) *PrivateKey {
	t.Helper()
	key, err := Generate(name, strings.NewReader(strings.Repeat("s", seedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pkcs8 encodes the parts of a key as they are.
func pkcs8(t testing.TB, name string, parameters asn1.RawValue, inner any) []byte {
	t.Helper()
	key, err := asn1.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	oid := oidOf(name)
	der, err := asn1.Marshal(privateKeyInfo{Algorithm: pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: parameters}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func seedOnly(seed []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: seed}
}

// hostileKeys returns private keys that must be refused, each by the reason that it names.
func hostileKeys(t testing.TB, name string) map[string][]byte {
	t.Helper()
	key := keyOf(t, name)
	expanded, err := key.key.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(part []byte)) []byte {
		other := slices.Clone(expanded)
		change(other)
		return other
	}
	none := asn1.RawValue{}
	t0 := len(expanded) - 416*map[string]int{"mldsa44": 4, "mldsa65": 6, "mldsa87": 8}[name]
	return map[string][]byte{
		"seed of 31":                     pkcs8(t, name, none, seedOnly(key.seed[1:])),
		"seed of 33":                     pkcs8(t, name, none, seedOnly(append(key.seed, 0))),
		"seed, empty":                    pkcs8(t, name, none, seedOnly(nil)),
		"parameters NULL":                pkcs8(t, name, asn1.NullRawValue, seedOnly(key.seed)),
		"expanded, cut":                  pkcs8(t, name, none, expanded[:len(expanded)-1]),
		"expanded, longer":               pkcs8(t, name, none, append(expanded, 0)),
		"expanded, empty":                pkcs8(t, name, none, []byte{}),
		"expanded, zeros":                pkcs8(t, name, none, make([]byte, len(expanded))),
		"expanded, coefficients too big": pkcs8(t, name, none, changed(func(b []byte) { b[130] = 0xff })),
		"expanded, last one too big":     pkcs8(t, name, none, changed(func(b []byte) { b[t0-1] |= 0xf0 })),
		"expanded, another hash":         pkcs8(t, name, none, changed(func(b []byte) { b[64] ^= 1 })),
		"expanded, another t0":           pkcs8(t, name, none, changed(func(b []byte) { _, _ = rand.Read(b[t0:]) })),
		"expanded, t0 of ones":           pkcs8(t, name, none, changed(func(b []byte) { copy(b[t0:], bytes.Repeat([]byte{0xff}, len(b))) })),
		"expanded, largest t0":           pkcs8(t, name, none, changed(func(b []byte) { largest(b[t0:]) })),
		"both, another seed":             pkcs8(t, name, none, both{bytes.Repeat([]byte{1}, seedSize), expanded}),
		"both, another key":              pkcs8(t, name, none, both{key.seed, changed(func(b []byte) { b[40] ^= 1 })}),
		"both, cut":                      pkcs8(t, name, none, both{key.seed, expanded[:100]}),
		"bare seed":                      pkcs8(t, name, none, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: key.seed}),
		"integer":                        pkcs8(t, name, none, 1),
	}
}

// largest sets all coefficients of t0, of 13 bits, to the largest or the smallest one. With
// such a key, CIRCL hardly ever succeeds in making a signature, and panics.
func largest(t0 []byte) {
	clear(t0)
	signs := sha256.Sum256(nil)
	for at := range 8 * len(t0) {
		coefficient := at / 13
		if signs[coefficient/8%len(signs)]>>(coefficient%8)&1 == 1 {
			t0[at/8] |= 1 << (at % 8)
		}
	}
}

func TestHostileKeys(t *testing.T) {
	for _, name := range Names() {
		for what, der := range hostileKeys(t, name) {
			key, err := ParsePKCS8(der)
			if err == nil {
				t.Errorf("%s, %s: %v", name, what, key)
				continue
			}
			secret := keyOf(t, name).seed
			if strings.Contains(err.Error(), string(secret)) {
				t.Errorf("%s, %s: the error has the seed", name, what)
			}
		}
		whole, err := keyOf(t, name).MarshalPKCS8()
		check(t, err)
		for n := range whole {
			if _, err := ParsePKCS8(whole[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes are a key", name, n, len(whole))
			}
		}
	}
}

// certificateOf returns a self-signed certificate and what changes it before it is encoded.
func certificateOf(t testing.TB, key *PrivateKey, change func(*tbsCertificate, *signed)) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(1e9, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := CreateCertificate(template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var outer signed
	var tbs tbsCertificate
	if err := unmarshal(der, &outer, &tbs); err != nil {
		t.Fatal(err)
	}
	change(&tbs, &outer)
	if outer.Content.FullBytes, err = asn1.Marshal(tbs); err != nil {
		t.Fatal(err)
	}
	der, err = asn1.Marshal(outer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// public returns a SubjectPublicKeyInfo as it is.
func public(t testing.TB, algorithm pkix.AlgorithmIdentifier, bits []byte, length int) asn1.RawValue {
	t.Helper()
	der, err := asn1.Marshal(subjectPublicKeyInfo{Algorithm: algorithm, Bits: asn1.BitString{Bytes: bits, BitLength: length}})
	if err != nil {
		t.Fatal(err)
	}
	return asn1.RawValue{FullBytes: der}
}

// TestMalformedCertificates checks that certificates are refused for what is wrong in them.
func TestMalformedCertificates(t *testing.T) {
	key := keyOf(t, "mldsa44")
	bits := key.public.bits
	right := algorithm("mldsa44")
	null := pkix.AlgorithmIdentifier{Algorithm: right.Algorithm, Parameters: asn1.NullRawValue}
	for says, change := range map[string]func(*tbsCertificate, *signed){
		"a public key of 10495 bits, which are not whole bytes": func(c *tbsCertificate, _ *signed) {
			c.PublicKey = public(t, right, slices.Concat(bits[:len(bits)-1], []byte{bits[len(bits)-1] &^ 1}), 8*len(bits)-1)
		},
		"its algorithm has parameters, and ML-DSA has none": func(c *tbsCertificate, _ *signed) { c.PublicKey = public(t, null, bits, 8*len(bits)) },
		"a public key of 1311 bytes, ML-DSA-44 has 1312":    func(c *tbsCertificate, _ *signed) { c.PublicKey = public(t, right, bits[1:], 8*len(bits)-8) },
		"a public key of 1312 bytes, ML-DSA-65 has 1952":    func(c *tbsCertificate, _ *signed) { c.PublicKey = public(t, algorithm("mldsa65"), bits, 8*len(bits)) },
	} {
		if cert, err := ParseCertificate(certificateOf(t, key, change)); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, %v", says, cert != nil, err)
		}
	}
	for says, change := range map[string]func(*tbsCertificate, *signed){
		"the algorithm of the signature has parameters": func(c *tbsCertificate, s *signed) { c.Algorithm, s.Algorithm = null, null },
		"a signature of 19352 bits, ML-DSA-44 has 19360": func(_ *tbsCertificate, s *signed) {
			s.Signature.Bytes, s.Signature.BitLength = s.Signature.Bytes[1:], 19352
		},
		"a signature of 19359 bits": func(_ *tbsCertificate, s *signed) {
			s.Signature.Bytes[len(s.Signature.Bytes)-1] &^= 1
			s.Signature.BitLength--
		},
		ErrSignature.Error(): func(_ *tbsCertificate, s *signed) { s.Signature.Bytes[0] ^= 1 },
	} {
		cert, err := ParseCertificate(certificateOf(t, key, change))
		if err != nil {
			continue // crypto/x509 noticed it
		}
		if err := CheckSignature(cert, cert); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", says, err)
		}
	}
}

func FuzzParsePKCS8(f *testing.F) {
	for _, name := range Names() {
		key := keyOf(f, name)
		whole, err := key.MarshalPKCS8()
		if err != nil {
			f.Fatal(err)
		}
		expanded, err := (&PrivateKey{key.key, nil, key.public}).MarshalPKCS8()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(expanded)
		f.Add(pkcs8(f, name, asn1.RawValue{}, seedOnly(key.seed)))
		for _, der := range hostileKeys(f, name) {
			f.Add(der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := ParsePKCS8(der)
		if err != nil {
			return
		}
		again, err := key.MarshalPKCS8()
		check(t, err)
		if same, err := ParsePKCS8(again); err != nil || !same.Equal(key) {
			t.Errorf("written and read: %v", err)
		}
		_, _ = key.Sign(nil, der, crypto.Hash(0))
	})
}

func FuzzParseCertificate(f *testing.F) {
	nothing := func(*tbsCertificate, *signed) {}
	for _, name := range Names() {
		der := certificateOf(f, keyOf(f, name), nothing)
		f.Add(der)
		f.Add(der[:len(der)/2])
	}
	ca, err := x509.ParseCertificate(certificateOf(f, keyOf(f, "mldsa44"), nothing))
	if err != nil {
		f.Fatal(err)
	}
	if err := Complete(ca); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		_, _ = ParsePKIXPublicKey(der)
		if request, err := x509.ParseCertificateRequest(der); err == nil {
			_ = CheckRequestSignature(request)
		}
		cert, err := ParseCertificate(der)
		if err != nil {
			return
		}
		_, _, _ = CheckSignature(cert, cert), CheckSignatureFormat(cert), CheckSignature(cert, ca)
		if key, is := cert.PublicKey.(*PublicKey); is {
			spki, err := MarshalPKIXPublicKey(key)
			check(t, err)
			if !bytes.Equal(spki, cert.RawSubjectPublicKeyInfo) {
				t.Error("the key is written in another way")
			}
		}
	})
}
