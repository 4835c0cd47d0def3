package protocol

import (
	"fmt"
	"math"
	"unicode/utf8"
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
func (a *Answer) Encode() ([]byte, error) { return encode(a, MaxAnswer) }

func (a *Answer) check() error {
	if err := first(
		checkVersion(a.Version), checkSize("the id", a.ID, IDSize),
		checkLength("the record", a.Receipt.Record, MaxRecord), checkProof(a.Receipt.Proof),
	); err != nil {
		return err
	}
	for i, signature := range a.Signatures {
		if len(signature) == 0 || len(signature) > math.MaxUint16 {
			return fmt.Errorf("%w: signature %d has %d bytes", ErrMalformed, i, len(signature))
		}
	}
	return nil
}

// checkProof accepts lines of text. What they say is for their reader.
func checkProof(proof string) error {
	if len(proof) > MaxRecord || !utf8.ValidString(proof) {
		return fmt.Errorf("%w: the proof is no text of at most %d bytes", ErrMalformed, MaxRecord)
	}
	return nil
}

// DecodeAnswer decodes an answer. Errors wrap [ErrMalformed].
func DecodeAnswer(body []byte) (*Answer, error) {
	var a Answer
	if err := decode(body, MaxAnswer, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

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
func (k *KeyInfo) Encode() ([]byte, error) { return encode(k, MaxBody) }

func (k *KeyInfo) check() error {
	if len(k.SPKI) == 0 {
		return fmt.Errorf("%w: the key %s has no public key", ErrMalformed, k.Name)
	}
	return first(checkVersion(k.Version), CheckName(k.Name), checkText("the key of the log", k.Log, MaxMessage))
}

// DecodeKeyInfo decodes the description of a key. Errors wrap [ErrMalformed].
func DecodeKeyInfo(body []byte) (*KeyInfo, error) {
	var k KeyInfo
	if err := decode(body, MaxBody, &k); err != nil {
		return nil, err
	}
	return &k, nil
}
