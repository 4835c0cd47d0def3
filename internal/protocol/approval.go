package protocol

import (
	"crypto/sha256"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Approval is a statement by a person: a service may sign the digests in one manifest, with one
// key and in one form, up to some day. It is no message: it is a file that the service reads.
type Approval struct {
	Version uint64 `cbor:"1,keyasint"`
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo of the service's key.
	SPKI []byte `cbor:"2,keyasint"`
	// Type and Signature are the type and the signature version of the values: the form.
	Type      uint8 `cbor:"3,keyasint"`
	Signature uint8 `cbor:"4,keyasint"`
	// Hash is the kernel's number of the hash of the digests (enum hash_algo).
	Hash uint8 `cbor:"5,keyasint"`
	// Manifest is the SHA-256 of the canonical manifest without signatures.
	Manifest []byte `cbor:"6,keyasint"`
	// Origin is what the manifest is of, in the words of the service's rules: a product, a
	// release. It is not empty.
	Origin string `cbor:"7,keyasint"`
	// Made is when it was made, and NotAfter when it ends, in seconds since 1970-01-01 UTC.
	Made     int64 `cbor:"8,keyasint"`
	NotAfter int64 `cbor:"9,keyasint"`
}

func (a *Approval) check() error {
	hash := ima.HashID(a.Hash).CheckSigns()
	if hash != nil {
		hash = fmt.Errorf("%w: %w", ErrMalformed, hash)
	}
	_, form := FormOf(a.Type, a.Signature)
	return first(checkVersion(a.Version), checkSize("the key's hash", a.SPKI, sha256.Size), form, hash,
		checkSize("the manifest's hash", a.Manifest, sha256.Size), CheckOrigin(a.Origin), checkTime(a.Made), checkTime(a.NotAfter))
}

// approvalContext precedes the statement in what is signed, so that the signature is of no use
// elsewhere.
const approvalContext = "imasign-build approval v1\n"

// sealed is the content of a file: the encoded [Approval], and a raw signature over
// [approvalContext] and these bytes, as the approver's key makes them.
type sealed struct {
	_         struct{} `cbor:",toarray"`
	Payload   []byte
	Signature []byte
}

func (s *sealed) check() error {
	if len(s.Signature) == 0 {
		return fmt.Errorf("%w: an approval without a signature", ErrMalformed)
	}
	return nil
}

// MaxApproval is the size in bytes of the largest file with an approval.
const MaxApproval = 16 << 10

// SealApproval encodes an approval and returns the content of its file. sign signs a message.
// Errors wrap [ErrMalformed], or are those of sign.
func SealApproval(a *Approval, sign func(message []byte) (signature []byte, err error)) ([]byte, error) {
	payload, err := encode(a, MaxApproval)
	if err != nil {
		return nil, err
	}
	signature, err := sign(append([]byte(approvalContext), payload...))
	if err != nil {
		return nil, err
	}
	return encode(&sealed{Payload: payload, Signature: signature}, MaxApproval)
}

// OpenApproval decodes the content of a file, but verifies nothing: the caller verifies the
// signature over the message with the key of a known approver. Errors wrap [ErrMalformed].
func OpenApproval(file []byte) (a *Approval, message, signature []byte, err error) {
	var s sealed
	if err := decode(file, MaxApproval, &s); err != nil {
		return nil, nil, nil, err
	}
	a = new(Approval)
	if err := decode(s.Payload, MaxApproval, a); err != nil {
		return nil, nil, nil, err
	}
	return a, append([]byte(approvalContext), s.Payload...), s.Signature, nil
}
