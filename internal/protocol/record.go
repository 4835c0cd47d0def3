package protocol

import (
	"crypto/ed25519"
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
	// public key.
	Requester    string `cbor:"3,keyasint"`
	RequesterKey []byte `cbor:"4,keyasint"`
	// ID is that of the request.
	ID []byte `cbor:"5,keyasint"`
	// Key is the name of the key, SPKI the SHA-256 of its SubjectPublicKeyInfo. SPKI is empty
	// if the service has no such key.
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
	// More is how many more requests of this requester were refused since its last record and
	// have none of their own. They are counted in the record of a later refusal, so that
	// refusals cannot fill a disk.
	More uint64 `cbor:"17,keyasint,omitempty"`
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
func (r *Record) Encode() ([]byte, error) { return encode(r, MaxRecord) }

func (r *Record) check() error {
	if err := first(
		checkVersion(r.Version), checkTime(r.Time), checkText("the requester", r.Requester, MaxName),
		checkSize("the requester's key", r.RequesterKey, ed25519.PublicKeySize), checkSize("the id", r.ID, IDSize), CheckName(r.Key),
		checkText("the rule", r.Rule, MaxName), checkSize("the digest of the details", r.Details, sha256.Size), r.checkDecision(),
	); err != nil {
		return err
	}
	for _, digest := range r.Manifests {
		if err := checkSize("the digest of a manifest", digest, sha256.Size); err != nil {
			return err
		}
	}
	return nil
}

// checkDecision refuses a record that does not say whether the request was granted.
func (r *Record) checkDecision() error {
	if r.Digests > MaxDigests {
		return fmt.Errorf("%w: a record of %d digests", ErrMalformed, r.Digests)
	}
	if r.Refusal == "" {
		if r.Rule == "" || r.Digests == 0 || r.More != 0 {
			return fmt.Errorf("%w: a record without a refusal, and without a rule or digests", ErrMalformed)
		}
		return first(checkSize("the digest of the key", r.SPKI, sha256.Size), checkSize("the root", r.Root, sha256.Size))
	}
	if r.Rule != "" || len(r.Root) > 0 || len(r.Manifests) > 0 {
		return fmt.Errorf("%w: a record of a refusal, with a rule, a root or manifests", ErrMalformed)
	}
	if len(r.SPKI) > 0 && len(r.SPKI) != sha256.Size { // it is empty if there is no such key
		return checkSize("the digest of the key", r.SPKI, sha256.Size)
	}
	return (&RefusedError{Code: r.Refusal}).check()
}

// Encode returns the encoding of the details.
func (d *Details) Encode() ([]byte, error) { return encode(d, MaxDetails) }

func (d *Details) check() error {
	if len(d.Digests) > MaxDigests*64 || len(d.Leaves) > MaxDigests*tlog.HashSize || len(d.Leaves)%tlog.HashSize != 0 {
		return fmt.Errorf("%w: details with %d bytes of digests and %d bytes of leaves", ErrMalformed, len(d.Digests), len(d.Leaves))
	}
	for i := range d.Origins {
		if len(d.Origins[i].Header) > 0 {
			return fmt.Errorf("%w: details with the header of a package", ErrMalformed)
		}
	}
	return first(checkVersion(d.Version), checkClaims(d.Origins, d.Claims))
}

// DecodeRecord decodes a record. Errors wrap [ErrMalformed].
func DecodeRecord(data []byte) (*Record, error) {
	var r Record
	if err := decode(data, MaxRecord, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// DecodeDetails decodes details. Errors wrap [ErrMalformed].
func DecodeDetails(data []byte) (*Details, error) {
	var d Details
	if err := decode(data, MaxDetails, &d); err != nil {
		return nil, err
	}
	return &d, nil
}
