package ima

import (
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// KeyID is the four bytes by which a signature names its key, as a big-endian number.
type KeyID uint32

// String returns eight lower-case hexadecimal digits, as the kernel prints key
// ids in "Request for unknown key".
func (id KeyID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

// ParseKeyID reads exactly eight hexadecimal digits of either case, with or
// without a leading "0x".
func ParseKeyID(s string) (KeyID, error) {
	digits := strings.TrimPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 {
		return 0, fmt.Errorf("%w: %q is not eight hexadecimal digits", errMalformedKeyID, s)
	}
	return KeyID(n), nil
}

// KeyIDFromCertificate returns the last four bytes of the certificate's subject key
// identifier. The kernel finds a key by them (request_asymmetric_key in
// security/integrity/digsig_asymmetric.c). The error wraps [ErrNoSubjectKeyID].
func KeyIDFromCertificate(cert *x509.Certificate) (KeyID, error) {
	skid := cert.SubjectKeyId
	if len(skid) < 4 {
		return 0, fmt.Errorf("certificate of %q: %w: %d bytes", cert.Subject, ErrNoSubjectKeyID, len(skid))
	}
	return KeyID(binary.BigEndian.Uint32(skid[len(skid)-4:])), nil
}

// keyIDOf returns the id of a key without a certificate; see [BareKey].
func keyIDOf(pub crypto.PublicKey) (KeyID, error) {
	if pure, ok := pub.(MessageKey); ok {
		return keyIDOfBits(pure.Bytes()), nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsupportedKey, err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsupportedKey, err)
	}
	return keyIDOfBits(info.Bits.Bytes), nil
}

func keyIDOfBits(bits []byte) KeyID {
	sum := sha1.Sum(bits)
	return KeyID(binary.BigEndian.Uint32(sum[len(sum)-4:]))
}
