package pkcs11

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// hashOID returns the identifier of RFC 8017, appendix B.1, and NIST's for SHA-3.
func hashOID(h crypto.Hash) asn1.ObjectIdentifier {
	nist := func(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, n} }
	switch h {
	case crypto.SHA256:
		return nist(1)
	case crypto.SHA384:
		return nist(2)
	case crypto.SHA512:
		return nist(3)
	case crypto.SHA224:
		return nist(4)
	case crypto.SHA3_256:
		return nist(8)
	case crypto.SHA3_384:
		return nist(9)
	case crypto.SHA3_512:
		return nist(10)
	}
	return nil
}

// digestInfo returns the DER of DigestInfo (RFC 8017, 9.2), which CKM_RSA_PKCS
// pads and signs.
func digestInfo(h crypto.Hash, digest []byte) ([]byte, error) {
	oid := hashOID(h)
	if oid == nil || len(digest) != h.Size() {
		return nil, fmt.Errorf("%w: a digest of %d bytes by %s", keystore.ErrKeyUse, len(digest), h)
	}
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.NullRawValue}, digest})
}

// truncated returns a function that cuts a digest for CKM_ECDSA to at most size bytes, the
// size of the curve's order (FIPS 186-5, 6.4.1). A digest that does not fit the hash is an
// error.
func truncated(size int) func(crypto.Hash, []byte) ([]byte, error) {
	return func(h crypto.Hash, digest []byte) ([]byte, error) {
		if hashOID(h) == nil || len(digest) != h.Size() {
			return nil, fmt.Errorf("%w: a digest of %d bytes by %s", keystore.ErrKeyUse, len(digest), h)
		}
		return digest[:min(len(digest), size)], nil
	}
}

// ecdsaOf returns a function that converts a token's ECDSA signature, r and s of size bytes
// each, into the ASN.1 DER of X.509 and the kernel.
func ecdsaOf(size int) func(raw []byte) ([]byte, error) {
	return func(raw []byte) ([]byte, error) {
		if len(raw) != 2*size {
			return nil, fmt.Errorf("the token returned no ECDSA signature: %d bytes, not %d", len(raw), 2*size)
		}
		r, s := new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])
		if r.Sign() == 0 || s.Sign() == 0 {
			return nil, errors.New("the token returned no ECDSA signature: zeros")
		}
		return asn1.Marshal(struct{ R, S *big.Int }{r, s})
	}
}
