package file

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// parse reads a private key in clear. The outline decides which format it is, because PEM
// labels are often wrong. Algorithm, size and curve are checked before the key is built, for
// precise errors, and so that a hostile size costs no work.
func parse(der []byte) (crypto.Signer, error) {
	var all asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 {
		return nil, notAKey("its DER is damaged or cut off: copy it again")
	}
	switch shape := outline(all.Bytes); {
	case strings.HasPrefix(shape, "iso"):
		return parsePKCS8(der)
	case strings.HasPrefix(shape, "iiiiiiiii"):
		return parsePKCS1(der)
	case strings.HasPrefix(shape, "io"):
		return parseSEC1(der, all.Bytes)
	}
	return nil, notAKey("its DER is not a private key")
}

// privateKeyInfo is PKCS #8 (RFC 5958) without its attributes.
type privateKeyInfo struct {
	Version   int
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	var info privateKeyInfo
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, damaged("PKCS #8")
	}
	defer clear(info.Key)
	switch algorithm := info.Algorithm.Algorithm.String(); algorithm {
	case "1.2.840.113549.1.1.1":
		if err := checkRSA(info.Key); err != nil {
			return nil, err
		}
	case "1.2.840.10045.2.1":
		if err := checkCurve(info.Algorithm.Parameters); err != nil {
			return nil, err
		}
	default:
		if mldsa.NameOf(info.Algorithm.Algorithm) == "" {
			return nil, unsupportedKey(algorithmName(algorithm))
		}
		key, err := mldsa.ParsePKCS8(der)
		if err != nil {
			return nil, notAKey("its ML-DSA key is damaged: " + err.Error())
		}
		return key, nil
	}
	return asSigner(x509.ParsePKCS8PrivateKey(der))
}

func parsePKCS1(der []byte) (crypto.Signer, error) {
	if err := checkRSA(der); err != nil {
		return nil, err
	}
	return asSigner(x509.ParsePKCS1PrivateKey(der))
}

func parseSEC1(der, content []byte) (crypto.Signer, error) {
	var curve asn1.RawValue
	for len(content) > 0 {
		var element asn1.RawValue
		rest, err := asn1.Unmarshal(content, &element)
		if err != nil {
			return nil, damaged("SEC 1")
		}
		if element.Class == asn1.ClassContextSpecific && element.Tag == 0 {
			_, _ = asn1.Unmarshal(element.Bytes, &curve) // checkCurve refuses an empty one
		}
		content = rest
	}
	if err := checkCurve(curve); err != nil {
		return nil, err
	}
	return asSigner(x509.ParseECPrivateKey(der))
}

func asSigner[K any](key K, err error) (crypto.Signer, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: its numbers are not a valid key: copy it again", keystore.ErrNotAKey)
	}
	s, ok := any(key).(crypto.Signer)
	if !ok {
		return nil, unsupportedKey(fmt.Sprintf("%T", key))
	}
	return s, nil
}

// checkRSA checks the size of a PKCS #1 key.
func checkRSA(der []byte) error {
	var key struct {
		Version int
		N       *big.Int
		E       *big.Int
	}
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return damaged("PKCS #1")
	}
	if !key.E.IsInt64() || key.E.Int64() > 1<<31-1 {
		return unsupportedKey(fmt.Sprintf("RSA with a public exponent of %d bits", key.E.BitLen()))
	}
	_, err := ima.BareKey(&rsa.PublicKey{N: key.N, E: int(key.E.Int64())})
	return err
}

// checkCurve checks the parameters of an EC key.
func checkCurve(parameters asn1.RawValue) error {
	if parameters.Class == asn1.ClassUniversal && parameters.Tag == asn1.TagSequence {
		return conversion{fmt.Errorf("%w: it describes its curve instead of naming it", keystore.ErrUnsupportedKey), byCurve}
	}
	var curve asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(parameters.FullBytes, &curve); err != nil || len(rest) > 0 {
		return notAKey("it is an EC key that names no curve")
	}
	switch oid := curve.String(); oid {
	case "1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35":
		return nil
	default:
		return fmt.Errorf("%w: ECDSA over %s; the kernel takes P-256, P-384 and P-521", ima.ErrUnsupportedKey, curveName(oid))
	}
}

func unsupportedKey(algorithm string) error {
	return fmt.Errorf("%w: %s; the kernel takes RSA of 2048 to 4096 bits, ECDSA over P-256, P-384 and P-521, and ML-DSA",
		ima.ErrUnsupportedKey, algorithm)
}

func damaged(form string) error {
	return fmt.Errorf("%w: its %s structure is damaged: copy it again", keystore.ErrNotAKey, form)
}

func algorithmName(oid string) string {
	switch oid {
	case "1.2.840.113549.1.1.10":
		return "RSASSA-PSS"
	case "1.2.840.10040.4.1":
		return "DSA"
	case "1.2.840.113549.1.3.1":
		return "DH"
	case "1.3.101.110":
		return "X25519"
	case "1.3.101.111":
		return "X448"
	case "1.3.101.112":
		return "Ed25519"
	case "1.3.101.113":
		return "Ed448"
	case "1.2.643.7.1.1.1.1", "1.2.643.7.1.1.1.2":
		return "GOST R 34.10-2012"
	}
	return "algorithm " + oid
}

func curveName(oid string) string {
	switch oid {
	case "1.2.840.10045.3.1.1":
		return "P-192"
	case "1.3.132.0.33":
		return "P-224"
	case "1.3.132.0.10":
		return "secp256k1"
	case "1.2.156.10197.1.301":
		return "SM2"
	}
	if strings.HasPrefix(oid, "1.3.36.3.3.2.8.1.1.") {
		return "a Brainpool curve"
	}
	return "curve " + oid
}

// isPrivateKeyInfo reports whether decrypted bytes are PKCS #8, which shows that the
// passphrase is right. White space may follow.
func isPrivateKeyInfo(der []byte) bool {
	var all asn1.RawValue
	rest, err := asn1.Unmarshal(der, &all)
	return err == nil && len(bytes.TrimSpace(rest)) == 0 && strings.HasPrefix(outline(all.Bytes), "iso")
}
