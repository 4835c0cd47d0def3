package protocol

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Record is what the log says about one request, granted or refused.
type Record struct {
	Version uint64 `cbor:"1,keyasint"`
	// Time is when the service decided, in seconds since 1970-01-01 UTC.
	Time int64 `cbor:"2,keyasint"`
	// Requester is the name of the requester in the configuration, and RequesterKey its Ed25519
	// public key. The name is "" if no requester has this key.
	Requester    string `cbor:"3,keyasint"`
	RequesterKey []byte `cbor:"4,keyasint"`
	// ID is that of the request.
	ID []byte `cbor:"5,keyasint"`
	// Key is the name of the key, SPKI the SHA-256 of its SubjectPublicKeyInfo.
	Key  string `cbor:"6,keyasint"`
	SPKI []byte `cbor:"7,keyasint"`
	// Type, Signature and Hash are those of the request.
	Type      uint8 `cbor:"8,keyasint"`
	Signature uint8 `cbor:"9,keyasint"`
	Hash      uint8 `cbor:"10,keyasint"`
	// Digests is the number of digests.
	Digests uint64 `cbor:"11,keyasint"`
	// Rule is the name of the rule that granted the request, "" if it was refused.
	Rule string `cbor:"12,keyasint"`
	// Refusal is why the request was refused, "" if it was granted.
	Refusal Code `cbor:"13,keyasint"`
	// Root is the Merkle root (RFC 6962) over the leaves of the batch, in the order of the
	// request; see [Leaf]. It is empty if the request was refused.
	Root []byte `cbor:"14,keyasint"`
	// Details is the SHA-256 of the encoded [Details].
	Details []byte `cbor:"15,keyasint"`
	// Manifests are the SHA-256 of the approved manifests that the digests are in, for a rule
	// that wants approvals.
	Manifests [][]byte `cbor:"16,keyasint,omitempty"`
}

// Details are stored beside a [Record]: they are too large for the log itself.
type Details struct {
	Version uint64 `cbor:"1,keyasint"`
	// Digests are those of the request.
	Digests []byte `cbor:"2,keyasint"`
	// Leaves are the hashes of the batch's leaves, 32 bytes each, one after the other. They are
	// empty if the request was refused.
	Leaves []byte `cbor:"3,keyasint,omitempty"`
	// Origins and Claims are those of the request, without package headers.
	Origins []Origin `cbor:"4,keyasint,omitempty"`
	Claims  []Claim  `cbor:"5,keyasint,omitempty"`
}

// Encode returns the encoding of the record.
func (r *Record) Encode() ([]byte, error) { return encode(r) }

// Encode returns the encoding of the details.
func (d *Details) Encode() ([]byte, error) { return encode(d) }

// DecodeRecord decodes a record. Errors wrap [ErrMalformed].
func DecodeRecord(data []byte) (*Record, error) {
	var r Record
	if err := decode(data, MaxRecord, &r); err != nil {
		return nil, err
	}
	if r.Version != Version {
		return nil, fmt.Errorf("%w: the record has version %d, this program reads version %d", ErrMalformed, r.Version, Version)
	}
	return &r, nil
}

// DecodeDetails decodes details. Errors wrap [ErrMalformed].
func DecodeDetails(data []byte) (*Details, error) {
	var d Details
	if err := decode(data, MaxDetails, &d); err != nil {
		return nil, err
	}
	if d.Version != Version {
		return nil, fmt.Errorf("%w: the details have version %d, this program reads version %d", ErrMalformed, d.Version, Version)
	}
	return &d, nil
}

const (
	// MaxRecord is the size in bytes of the largest record. Entries of a C2SP log have at most
	// 65,535.
	MaxRecord = 65535
	// MaxDetails is the size in bytes of the largest details.
	MaxDetails = 2 * MaxBody
)

// leafContext precedes the data of a leaf.
const leafContext = "imasign-build signature v1\n"

// Leaf returns the hash of the leaf for one signature, 32 bytes. It is the RFC 6962 leaf hash
// of: leafContext, the SHA-256 of the key's SubjectPublicKeyInfo (32 bytes), the type, the
// signature version and the hash (one byte each), the digest, and the raw signature. The hash
// fixes the length of the digest, so nothing is ambiguous.
func Leaf(spki [sha256.Size]byte, kind, version, hash uint8, digest, signature []byte) tlog.Hash {
	data := make([]byte, 0, len(leafContext)+sha256.Size+3+len(digest)+len(signature))
	data = append(append(data, leafContext...), spki[:]...)
	data = append(data, kind, version, hash)
	return tlog.RecordHash(append(append(data, digest...), signature...))
}

// Root returns the RFC 6962 Merkle root over the hashes of leaves. Without leaves it is that of
// an empty tree, the SHA-256 of nothing.
func Root(leaves []tlog.Hash) tlog.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	split := 1 // the largest power of two below the number of leaves
	for 2*split < len(leaves) {
		split *= 2
	}
	return tlog.NodeHash(Root(leaves[:split]), Root(leaves[split:]))
}
