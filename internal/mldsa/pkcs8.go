package mldsa

import (
	"crypto/sha3"
	"crypto/subtle"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// oidOf returns the object identifier of a parameter set: id-ml-dsa-44, -65 and -87 of RFC
// 9881, section 2. It names the key's algorithm and the signature's.
func oidOf(name string) asn1.ObjectIdentifier {
	last := map[string]int{"mldsa44": 17, "mldsa65": 18, "mldsa87": 19}[name]
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, last}
}

// NameOf returns the parameter set of an object identifier, "" for any other algorithm.
func NameOf(oid asn1.ObjectIdentifier) string {
	for _, name := range Names() {
		if oidOf(name).Equal(oid) {
			return name
		}
	}
	return ""
}

// algorithm returns the AlgorithmIdentifier, whose parameters must be absent.
func algorithm(name string) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: oidOf(name)}
}

// privateKeyInfo is PKCS #8 (RFC 5958) without its attributes.
type privateKeyInfo struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

// both is the third choice of ML-DSA-PrivateKey in RFC 9881, section 6.
type both struct {
	Seed     []byte
	Expanded []byte
}

// errInconsistent is the error for a key whose parts do not belong together.
var errInconsistent = errors.New("its parts do not belong together")

// ParsePKCS8 reads a private key in any of the three forms of RFC 9881, section 6: the seed,
// the expanded key, or both. It refuses keys whose parts do not belong together (section
// 8.2). No error contains a part of the key.
func ParsePKCS8(der []byte) (*PrivateKey, error) {
	var info privateKeyInfo
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, errors.New("its PKCS #8 structure is damaged")
	}
	defer clear(info.Key)
	name := NameOf(info.Algorithm.Algorithm)
	if name == "" {
		return nil, fmt.Errorf("algorithm %s is not ML-DSA", info.Algorithm.Algorithm)
	}
	if len(info.Algorithm.Parameters.FullBytes) > 0 {
		return nil, errors.New("its algorithm has parameters, and ML-DSA has none")
	}
	var choice asn1.RawValue
	if rest, err := asn1.Unmarshal(info.Key, &choice); err != nil || len(rest) > 0 {
		return nil, errors.New("its key is neither a seed nor an expanded key")
	}
	switch {
	case choice.Class == asn1.ClassContextSpecific && choice.Tag == 0 && !choice.IsCompound:
		return fromSeed(name, choice.Bytes)
	case choice.Class == asn1.ClassUniversal && choice.Tag == asn1.TagOctetString:
		return fromExpanded(name, choice.Bytes)
	case choice.Class == asn1.ClassUniversal && choice.Tag == asn1.TagSequence:
		return fromBoth(name, choice.FullBytes)
	}
	return nil, errors.New("its key is neither a seed nor an expanded key")
}

func fromBoth(name string, der []byte) (*PrivateKey, error) {
	var parts both
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
		return nil, errors.New("its key is neither a seed nor an expanded key")
	}
	defer clear(parts.Seed)
	defer clear(parts.Expanded)
	key, err := fromSeed(name, parts.Seed)
	if err != nil {
		return nil, err
	}
	expanded, err := key.key.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(expanded)
	if subtle.ConstantTimeCompare(expanded, parts.Expanded) != 1 {
		return nil, errInconsistent
	}
	return key, nil
}

// fromExpanded checks what it can without the seed. circl itself checks nothing.
func fromExpanded(name string, expanded []byte) (*PrivateKey, error) {
	s := scheme(name)
	if len(expanded) != s.PrivateKeySize() {
		return nil, fmt.Errorf("an expanded key of %d bytes, %s has %d", len(expanded), s.Name(), s.PrivateKeySize())
	}
	if !areShort(name, expanded) {
		return nil, errInconsistent
	}
	secret, err := s.UnmarshalBinaryPrivateKey(expanded)
	if err != nil {
		return nil, errInconsistent
	}
	key, err := fromKey(name, secret, nil)
	if err != nil {
		return nil, err
	}
	hash := sha3.SumSHAKE256(key.public.bits, 64)
	if subtle.ConstantTimeCompare(hash, expanded[64:128]) != 1 {
		return nil, errInconsistent
	}
	// What the hash does not cover shows in a signature.
	probe, err := key.Sign(nil, nil, nil)
	if err != nil || !key.public.VerifyMessage(nil, probe) {
		return nil, errInconsistent
	}
	return key, nil
}

// areShort reports whether the coefficients of s1 and s2 are in their range (skDecode, FIPS
// 204, algorithm 25). An expanded key is rho, K, tr, s1 and s2, and t0 of 416 bytes a
// polynomial. Coefficients of s1 and s2 are from 0 to twice eta, in 3 or 4 bits.
func areShort(name string, expanded []byte) bool {
	bits, most, rows := 3, 4, map[string]int{"mldsa44": 4, "mldsa65": 6, "mldsa87": 8}[name]
	if name == "mldsa65" {
		bits, most = 4, 8
	}
	short := true
	packed := expanded[128 : len(expanded)-416*rows]
	for at := 0; at < 8*len(packed); at += bits {
		word := int(packed[at/8])
		if at/8+1 < len(packed) {
			word |= int(packed[at/8+1]) << 8
		}
		short = short && word>>(at%8)&(1<<bits-1) <= most
	}
	return short
}

// MarshalPKCS8 returns the key as PKCS #8 in DER: seed and expanded key, as OpenSSL 3.5
// writes it, or only the expanded key if that is all that is known.
func (k *PrivateKey) MarshalPKCS8() ([]byte, error) {
	expanded, err := k.key.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(expanded)
	var inner []byte
	if k.seed == nil {
		inner, err = asn1.Marshal(expanded)
	} else {
		inner, err = asn1.Marshal(both{k.seed, expanded})
	}
	if err != nil {
		return nil, err
	}
	defer clear(inner)
	return asn1.Marshal(privateKeyInfo{Algorithm: algorithm(k.public.name), Key: inner})
}

// Secrets returns parts of the key that show it wherever it is written: the seed, if it is
// known, and of the expanded key what follows its public beginning (skEncode, FIPS 204,
// algorithm 24), K and the first 32 bytes of s1.
func (k *PrivateKey) Secrets() [][]byte {
	expanded, err := k.key.MarshalBinary()
	if err != nil {
		return nil
	}
	defer clear(expanded)
	list := [][]byte{slices.Clone(expanded[32:64]), slices.Clone(expanded[128:160])}
	if k.seed != nil {
		list = append(list, slices.Clone(k.seed))
	}
	return list
}
