package approval

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// ErrSignature means that an approver's signature is not valid.
var ErrSignature = errors.New("the signature of the approval is not valid")

// SPKI returns the SHA-256 of the SubjectPublicKeyInfo of a key, as it is in the key's
// certificate if there is one.
func SPKI(key *ima.PublicKey) ([sha256.Size]byte, error) {
	if cert := key.Certificate(); cert != nil {
		return sha256.Sum256(cert.RawSubjectPublicKeyInfo), nil
	}
	der, err := mldsa.MarshalPKIXPublicKey(key.Public())
	return sha256.Sum256(der), err
}

// Sign makes the content of an approval's file. signer is the private key of the approver, and
// key its public key, which verifies the signature before Sign returns it. Errors wrap
// [protocol.ErrMalformed], [ErrSignature], or are those of the signer.
func Sign(ctx context.Context, signer ima.Signer, key *ima.PublicKey, a *protocol.Approval) ([]byte, error) {
	return protocol.SealApproval(a, func(message []byte) ([]byte, error) {
		s := statement(key, message)
		signatures, err := signer.Sign(ctx, s.Form, s.Hash, [][]byte{s.Digest})
		if err == nil && len(signatures) != 1 {
			err = fmt.Errorf("%d signatures for one message", len(signatures))
		}
		if err != nil {
			return nil, fmt.Errorf("sign with key %s: %w", key.ID(), err)
		}
		if err := key.Verify(s, signatures[0]); err != nil {
			return nil, fmt.Errorf("%w: does the private key belong to this certificate? %w", ErrSignature, err)
		}
		return signatures[0], nil
	})
}

// verify checks the signature of an approver over a message.
func verify(key *ima.PublicKey, message, signature []byte) error {
	if err := key.Verify(statement(key, message), signature); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

// statement returns what an approver's key signs for a message: its digest, as if it were the
// content of a file, so that every store of keys can sign it. The key fixes the hash. An ML-DSA
// key signs a version 3 statement. No device may trust the key of an approver.
func statement(key *ima.PublicKey, message []byte) ima.Statement {
	form, hash := ima.ContentSignature(), crypto.SHA256
	switch key.Algorithm() {
	case "p384":
		hash = crypto.SHA384
	case "p521":
		hash = crypto.SHA512
	}
	if _, pure := key.Public().(ima.MessageKey); pure {
		form = form.V3()
	}
	id, _ := ima.HashIDOf(hash) // which knows them
	sum := hash.New()
	sum.Write(message)
	return ima.Statement{Form: form, Hash: id, Digest: sum.Sum(nil)}
}
