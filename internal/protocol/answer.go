package protocol

import (
	"fmt"
)

// Answer has the signatures of a [Request].
type Answer struct {
	Version uint64 `cbor:"1,keyasint"`
	// ID is that of the request.
	ID []byte `cbor:"2,keyasint"`
	// Signatures has one raw signature for each digest, in the order of the request.
	Signatures [][]byte `cbor:"3,keyasint"`
	// Receipt proves that the log has the batch.
	Receipt Receipt `cbor:"4,keyasint"`
}

// Receipt proves that a log has a record.
type Receipt struct {
	// Record is the encoded [Record].
	Record []byte `cbor:"1,keyasint"`
	// Proof is the index of the record, its inclusion proof and a signed checkpoint of the log,
	// as text (C2SP tlog-proof).
	Proof string `cbor:"2,keyasint"`
}

// Encode returns the encoding of the answer.
func (a *Answer) Encode() ([]byte, error) { return encode(a) }

// DecodeAnswer decodes an answer. Errors wrap [ErrMalformed].
func DecodeAnswer(body []byte) (*Answer, error) {
	var a Answer
	if err := decode(body, maxAnswer, &a); err != nil {
		return nil, err
	}
	if a.Version != Version {
		return nil, fmt.Errorf("%w: the answer has version %d of the protocol, this program has version %d", ErrMalformed, a.Version, Version)
	}
	return &a, nil
}

// maxAnswer is the size in bytes of the largest answer: with ML-DSA-87, a signature has 4,627
// bytes.
const maxAnswer = 8 << 20

// KeyInfo describes a key of a service.
type KeyInfo struct {
	Version uint64 `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"`
	// SPKI is the public key (SubjectPublicKeyInfo of RFC 5280, DER).
	SPKI []byte `cbor:"3,keyasint"`
	// Certificate is the key's certificate (DER), or empty if it has none.
	Certificate []byte `cbor:"4,keyasint,omitempty"`
	// Log is the key that verifies the checkpoints of the log, as a verifier key of a signed note
	// (golang.org/x/mod/sumdb/note).
	Log string `cbor:"5,keyasint,omitempty"`
	// Headers says that the rules for this client and key want package headers.
	Headers bool `cbor:"6,keyasint,omitempty"`
}

// Encode returns the encoding of the description.
func (k *KeyInfo) Encode() ([]byte, error) { return encode(k) }

// DecodeKeyInfo decodes the description of a key. Errors wrap [ErrMalformed].
func DecodeKeyInfo(body []byte) (*KeyInfo, error) {
	var k KeyInfo
	if err := decode(body, MaxBody, &k); err != nil {
		return nil, err
	}
	if k.Version != Version {
		return nil, fmt.Errorf("%w: the key has version %d of the protocol, this program has version %d", ErrMalformed, k.Version, Version)
	}
	return &k, nil
}
