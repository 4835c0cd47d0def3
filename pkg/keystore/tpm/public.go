package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// usable checks that an object may sign any digest. It returns the digest algorithm that the
// key is bound to, TPMAlgNull for any.
func usable(p *tpm2.TPMTPublic) (tpm2.TPMAlgID, error) {
	a := p.ObjectAttributes
	switch {
	case a.Restricted:
		return 0, fmt.Errorf("%w: it is a restricted key, which signs only what the TPM itself has digested", keystore.ErrKeyUse)
	case !a.SignEncrypt:
		return 0, fmt.Errorf("%w: it may not sign (its attribute sign is not set)", keystore.ErrKeyUse)
	case !a.UserWithAuth:
		return 0, fmt.Errorf("%w: it wants a policy, which is not supported (its attribute userwithauth is not set)", keystore.ErrKeyUse)
	}
	switch p.Type {
	case tpm2.TPMAlgRSA:
		return rsaScheme(p)
	case tpm2.TPMAlgECC:
		return eccScheme(p)
	}
	return 0, fmt.Errorf("%w: object type %#x; TPMs may have RSA and ECDSA keys for IMA", keystore.ErrUnsupportedKey, p.Type)
}

func rsaScheme(p *tpm2.TPMTPublic) (tpm2.TPMAlgID, error) {
	parms, err := p.Parameters.RSADetail()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
	}
	switch parms.Scheme.Scheme {
	case tpm2.TPMAlgNull, 0:
		return tpm2.TPMAlgNull, nil
	case tpm2.TPMAlgRSASSA:
		scheme, err := parms.Scheme.Details.RSASSA()
		if err != nil {
			return 0, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
		}
		return scheme.HashAlg, nil
	}
	return 0, fmt.Errorf("%w: it signs by scheme %#x only, IMA takes RSASSA (PKCS #1 v1.5)", keystore.ErrKeyUse, parms.Scheme.Scheme)
}

func eccScheme(p *tpm2.TPMTPublic) (tpm2.TPMAlgID, error) {
	parms, err := p.Parameters.ECCDetail()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
	}
	switch parms.Scheme.Scheme {
	case tpm2.TPMAlgNull, 0:
		return tpm2.TPMAlgNull, nil
	case tpm2.TPMAlgECDSA:
		scheme, err := parms.Scheme.Details.ECDSA()
		if err != nil {
			return 0, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
		}
		return scheme.HashAlg, nil
	}
	return 0, fmt.Errorf("%w: it signs by scheme %#x only, IMA takes ECDSA", keystore.ErrKeyUse, parms.Scheme.Scheme)
}

func algorithmOf(h crypto.Hash) (tpm2.TPMAlgID, error) {
	switch h {
	case crypto.SHA256:
		return tpm2.TPMAlgSHA256, nil
	case crypto.SHA384:
		return tpm2.TPMAlgSHA384, nil
	case crypto.SHA512:
		return tpm2.TPMAlgSHA512, nil
	case crypto.SHA3_256:
		return tpm2.TPMAlgSHA3256, nil
	case crypto.SHA3_384:
		return tpm2.TPMAlgSHA3384, nil
	case crypto.SHA3_512:
		return tpm2.TPMAlgSHA3512, nil
	}
	return 0, fmt.Errorf("%w: TPMs know no %s", ErrHash, h)
}

func hashOf(a tpm2.TPMAlgID) (crypto.Hash, error) {
	if a == tpm2.TPMAlgNull {
		return crypto.SHA256, nil
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512} {
		if known, err := algorithmOf(h); err == nil && known == a {
			return h, nil
		}
	}
	return 0, fmt.Errorf("%w: it signs digests by algorithm %#x only", keystore.ErrKeyUse, a)
}

// schemeFor returns the scheme by which a key signs a digest.
func schemeFor(public crypto.PublicKey, hash tpm2.TPMAlgID) (tpm2.TPMTSigScheme, error) {
	var alg tpm2.TPMAlgID
	switch public.(type) {
	case *rsa.PublicKey:
		alg = tpm2.TPMAlgRSASSA
	case *ecdsa.PublicKey:
		alg = tpm2.TPMAlgECDSA
	default:
		return tpm2.TPMTSigScheme{}, fmt.Errorf("%w: %T", keystore.ErrUnsupportedKey, public)
	}
	return tpm2.TPMTSigScheme{Scheme: alg, Details: tpm2.NewTPMUSigScheme(alg, &tpm2.TPMSSchemeHash{HashAlg: hash})}, nil
}
