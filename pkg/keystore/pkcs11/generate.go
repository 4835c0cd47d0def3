//go:build cgo

package pkcs11

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// generate makes a key pair in the token that uri names.
func (s *store) generate(ctx context.Context, uri string, r keystore.Request, opts keystore.Options) (*keystore.Generated, error) {
	l, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	if _, _, err := keyPair(r.Algorithm); err != nil { // before the PIN is asked for
		return nil, fmt.Errorf("make key %s: %w", l, err)
	}
	if l.object == "" {
		l.object = r.Name
	}
	k, err := s.connect(ctx, l, opts)
	if err != nil {
		return nil, err
	}
	made, err := k.generate(ctx, r.Algorithm, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make key %s: %w", l, err), k.close())
	}
	return made, nil
}

// maker makes objects in a token through one session that may write.
type maker struct {
	view
	label   string
	id      []byte
	objects []p11.ObjectHandle // made so far
}

func (k *signer) generate(ctx context.Context, algorithm string, opts keystore.Options) (*keystore.Generated, error) {
	sh, err := k.connect(ctx, readWrite)
	if err != nil {
		return nil, err
	}
	m := &maker{view: view{k.token, sh}, label: k.where.object, id: k.where.id}
	key, err := m.make(ctx, k, algorithm, opts)
	if err != nil {
		return nil, errors.Join(err, m.discard(), k.CloseSession(sh))
	}
	key.Release = func() error { return errors.Join(k.CloseSession(sh), k.close()) }
	full := *k.where
	full.token, full.serial = k.info.Label, ""
	return &keystore.Generated{Key: key, URI: full.uri(), Certify: m.certify, Discard: m.discard}, nil
}

func (m *maker) make(ctx context.Context, k *signer, algorithm string, opts keystore.Options) (*keystore.Key, error) {
	there, err := m.search(k.where.template(p11.CKO_PRIVATE_KEY)...)
	switch {
	case err != nil:
		return nil, translate(err)
	case len(there) > 0:
		return nil, ErrExists
	}
	if len(m.id) == 0 {
		m.id = make([]byte, 16)
		if _, err := rand.Read(m.id); err != nil {
			return nil, err
		}
	}
	mechanism, kind, err := keyPair(algorithm)
	if err != nil {
		return nil, err
	}
	public, private, err := m.GenerateKeyPair(m.session, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, append(m.common(), kind...), m.privately())
	if err != nil {
		return nil, fmt.Errorf("make a %s key: %w", algorithm, translate(err))
	}
	m.objects = append(m.objects, private, public)
	return k.open(ctx, opts)
}

func (m *maker) common() []*p11.Attribute {
	return []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, m.label), p11.NewAttribute(p11.CKA_ID, m.id)}
}

func (m *maker) privately() []*p11.Attribute {
	return append(m.common(),
		p11.NewAttribute(p11.CKA_PRIVATE, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true),
		p11.NewAttribute(p11.CKA_EXTRACTABLE, false),
		p11.NewAttribute(p11.CKA_SIGN, true),
		p11.NewAttribute(p11.CKA_DECRYPT, false),
		p11.NewAttribute(p11.CKA_UNWRAP, false))
}

// errMLDSA refuses ML-DSA until the constants of PKCS #11 3.2 are in the modules and headers
// that this package is used with.
var errMLDSA = fmt.Errorf("%w: ML-DSA, which modules of PKCS #11 3.2 have, is supported in files only", keystore.ErrUnsupportedKey)

// keyPair returns the mechanism that makes a key, and the attributes of its public part that
// depend on the algorithm.
func keyPair(algorithm string) (mechanism uint, public []*p11.Attribute, err error) {
	use := []*p11.Attribute{
		p11.NewAttribute(p11.CKA_VERIFY, true), p11.NewAttribute(p11.CKA_ENCRYPT, false), p11.NewAttribute(p11.CKA_WRAP, false),
	}
	bits := map[string]int{"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}[algorithm]
	if bits > 0 {
		return p11.CKM_RSA_PKCS_KEY_PAIR_GEN, append(use,
			p11.NewAttribute(p11.CKA_MODULUS_BITS, bits), p11.NewAttribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})), nil
	}
	oid := map[string]asn1.ObjectIdentifier{"p256": {1, 2, 840, 10045, 3, 1, 7}, "p384": {1, 3, 132, 0, 34}}[algorithm]
	switch {
	case strings.HasPrefix(algorithm, "mldsa"):
		return 0, nil, errMLDSA
	case oid == nil:
		return 0, nil, fmt.Errorf("%w: algorithm %q", keystore.ErrUnsupportedKey, algorithm)
	}
	params, err := asn1.Marshal(oid)
	return p11.CKM_EC_KEY_PAIR_GEN, append(use, p11.NewAttribute(p11.CKA_EC_PARAMS, params)), err
}

// certify stores the certificate under the key's label and CKA_ID.
func (m *maker) certify(ctx context.Context, cert *x509.Certificate) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	serial, err := asn1.Marshal(cert.SerialNumber)
	if err != nil {
		return err
	}
	object, err := m.CreateObject(m.session, append(m.common(),
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_CERTIFICATE),
		p11.NewAttribute(p11.CKA_CERTIFICATE_TYPE, p11.CKC_X_509),
		p11.NewAttribute(p11.CKA_PRIVATE, false),
		p11.NewAttribute(p11.CKA_SUBJECT, cert.RawSubject),
		p11.NewAttribute(p11.CKA_ISSUER, cert.RawIssuer),
		p11.NewAttribute(p11.CKA_SERIAL_NUMBER, serial),
		p11.NewAttribute(p11.CKA_VALUE, cert.Raw)))
	if err != nil {
		return fmt.Errorf("put the certificate of %q into %s: %w", cert.Subject, m.token, translate(err))
	}
	m.objects = append(m.objects, object)
	return nil
}

// discard destroys the objects that were made.
func (m *maker) discard() (err error) {
	for _, object := range m.objects {
		if failed := m.DestroyObject(m.session, object); failed != nil {
			err = errors.Join(err, fmt.Errorf("take %q out of %s: %w", m.label, m.token, translate(failed)))
		}
	}
	m.objects = nil
	return err
}
