//go:build cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
)

// view reads the objects of a token through one session.
type view struct {
	*token
	session p11.SessionHandle
}

// maxObjects bounds how many objects of a token are read.
const maxObjects = 1000

// search returns the objects that have all the attributes.
func (v view) search(template ...*p11.Attribute) (found []p11.ObjectHandle, err error) {
	if err := v.FindObjectsInit(v.session, template); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.FindObjectsFinal(v.session)) }()
	for len(found) < maxObjects {
		more, code, err := v.checked.Find(uint(v.session), 100)
		if err := errors.Join(err, answer(code)); err != nil || len(more) == 0 {
			return found, err
		}
		for _, object := range more {
			found = append(found, p11.ObjectHandle(object))
		}
	}
	return found, nil
}

// attribute returns a value, nil if the object lacks it or does not reveal it.
func (v view) attribute(object p11.ObjectHandle, kind uint) []byte {
	value, _ := v.checked.Attribute(uint(v.session), uint(object), kind)
	return value
}

func (v view) isSet(object p11.ObjectHandle, kind uint) bool {
	value := v.attribute(object, kind)
	return len(value) == 1 && value[0] != 0
}

// number reads a CK_ULONG, in the size and byte order of this machine.
func (v view) number(object p11.ObjectHandle, kind uint) (uint64, bool) {
	value := v.attribute(object, kind)
	switch len(value) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(value)), true
	case 8:
		return binary.NativeEndian.Uint64(value), true
	}
	return 0, false
}

// describe names an object in an error.
func (v view) describe(object p11.ObjectHandle) string {
	one := location{object: string(v.attribute(object, p11.CKA_LABEL)), id: v.attribute(object, p11.CKA_ID)}
	return one.String()
}

// template returns the attributes that the URI names, for an object of a class.
func (l *location) template(class uint) []*p11.Attribute {
	list := []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_TOKEN, true)}
	if l.object != "" {
		list = append(list, p11.NewAttribute(p11.CKA_LABEL, l.object))
	}
	if len(l.id) > 0 {
		list = append(list, p11.NewAttribute(p11.CKA_ID, l.id))
	}
	return list
}

// privateKey finds the one private key that l names.
func (v view) privateKey(l *location) (p11.ObjectHandle, error) {
	found, err := v.search(l.template(p11.CKO_PRIVATE_KEY)...)
	if err != nil {
		return 0, fmt.Errorf("search %s: %w", v.token, translate(err))
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		all, _ := v.search((&location{}).template(p11.CKO_PRIVATE_KEY)...)
		return 0, fmt.Errorf("private key %w: %s has %s", keystore.ErrNotFound, v.token, v.listed(all))
	}
	return 0, fmt.Errorf("%w in %s matches: %s: name one by object= and id=", keystore.ErrSeveralKeys, v.token, v.listed(found))
}

func (v view) listed(objects []p11.ObjectHandle) string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = v.describe(o)
	}
	return listed(names)
}

// publicKey reads the public key from the public key object with the same CKA_ID, or from
// the private key object.
func (v view) publicKey(private p11.ObjectHandle) (crypto.PublicKey, error) {
	kind, known := v.number(private, p11.CKA_KEY_TYPE)
	if !known {
		return nil, fmt.Errorf("%w: the token tells no key type of it (CKA_KEY_TYPE)", keystore.ErrUnsupportedKey)
	}
	if err := checkKind(kind); err != nil {
		return nil, err
	}
	var candidates []p11.ObjectHandle
	if id := v.attribute(private, p11.CKA_ID); len(id) > 0 {
		public, err := v.search(p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, uint(kind)), p11.NewAttribute(p11.CKA_ID, id))
		if err != nil {
			return nil, translate(err)
		}
		candidates = public
	}
	for _, object := range append(candidates, private) {
		public, err := v.readPublic(object, kind)
		if err != nil || public != nil {
			return public, err
		}
	}
	return nil, nil
}

// checkKind refuses key types that this package does not support.
func checkKind(kind uint64) error {
	const ckkMLDSA = 0x4a // CKK_ML_DSA of PKCS #11 3.2
	switch kind {
	case p11.CKK_RSA, p11.CKK_EC:
		return nil
	case ckkMLDSA:
		return errMLDSA
	}
	return fmt.Errorf("%w: key type %#x; tokens may have RSA and ECDSA keys for IMA", keystore.ErrUnsupportedKey, kind)
}

// readPublic returns nil if the object lacks the attributes.
func (v view) readPublic(object p11.ObjectHandle, kind uint64) (crypto.PublicKey, error) {
	if kind == p11.CKK_RSA {
		n, e := v.attribute(object, p11.CKA_MODULUS), v.attribute(object, p11.CKA_PUBLIC_EXPONENT)
		if len(n) == 0 || len(e) == 0 {
			return nil, nil
		}
		exponent := new(big.Int).SetBytes(e)
		if !exponent.IsInt64() || exponent.Int64() >= 1<<31 {
			return nil, fmt.Errorf("%w: the token's RSA key has an exponent of more than 31 bits", keystore.ErrUnsupportedKey)
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	}
	params, point := v.attribute(object, p11.CKA_EC_PARAMS), v.attribute(object, p11.CKA_EC_POINT)
	if len(params) == 0 || len(point) == 0 {
		return nil, nil
	}
	return parsePoint(params, point)
}

// curveOIDs are the named curves that the kernel supports (RFC 5480, 2.1.1.1).
func curveOIDs() map[string]elliptic.Curve {
	return map[string]elliptic.Curve{
		"1.2.840.10045.3.1.7": elliptic.P256(), "1.3.132.0.34": elliptic.P384(), "1.3.132.0.35": elliptic.P521(),
	}
}

// parsePoint reads CKA_EC_PARAMS, an object identifier in DER, and CKA_EC_POINT, the
// uncompressed point in an OCTET STRING. Some tokens omit the OCTET STRING.
func parsePoint(params, point []byte) (*ecdsa.PublicKey, error) {
	var oid asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(params, &oid); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its CKA_EC_PARAMS is no named curve", keystore.ErrUnsupportedKey)
	}
	curve := curveOIDs()[oid.String()]
	if curve == nil {
		return nil, fmt.Errorf("%w: curve %s", keystore.ErrUnsupportedKey, oid)
	}
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("%w: its CKA_EC_POINT is no point of the curve", keystore.ErrUnsupportedKey)
	}
	return public, nil
}

// certificate returns the certificate of public that has the CKA_ID of the private key. If
// there are several, it returns the one that is valid longest, and if there is none, nil.
func (v view) certificate(private p11.ObjectHandle, public crypto.PublicKey) (*x509.Certificate, error) {
	id := v.attribute(private, p11.CKA_ID)
	if len(id) == 0 {
		return nil, nil
	}
	found, err := v.search(p11.NewAttribute(p11.CKA_CLASS, p11.CKO_CERTIFICATE), p11.NewAttribute(p11.CKA_CERTIFICATE_TYPE, p11.CKC_X_509), p11.NewAttribute(p11.CKA_ID, id))
	if err != nil {
		return nil, translate(err)
	}
	var best *x509.Certificate
	for _, object := range found {
		cert, err := keystore.ParseCertificate(v.attribute(object, p11.CKA_VALUE))
		if err != nil {
			return nil, fmt.Errorf("the certificate %s in %s: %w", v.describe(object), v.token, quote.Plain(err))
		}
		if own, ok := public.(interface{ Equal(crypto.PublicKey) bool }); public != nil && ok && !own.Equal(cert.PublicKey) {
			continue
		}
		if best != nil && !bytes.Equal(best.SubjectKeyId, cert.SubjectKeyId) {
			return nil, fmt.Errorf("%s: %w, with key ids of their own", v.token, ErrSeveralCertificates)
		}
		if best == nil || cert.NotAfter.After(best.NotAfter) {
			best = cert
		}
	}
	return best, nil
}
