package protocol

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Version is the version of the protocol in every message.
const Version = 1

// Request asks for one signature for each of up to [MaxDigests] digests of one form and hash.
type Request struct {
	Version uint64 `cbor:"1,keyasint"`
	// Audience is the server that the request is for: its host and port, as the client
	// connects to it.
	Audience string `cbor:"2,keyasint"`
	// Key is the name of the signing key.
	Key string `cbor:"3,keyasint"`
	// Requester is the Ed25519 public key that the envelope is signed with, 32 bytes.
	Requester []byte `cbor:"4,keyasint"`
	// ID is random, and not used twice: [IDSize] bytes.
	ID []byte `cbor:"5,keyasint"`
	// Time is when the request was made, in seconds since 1970-01-01 UTC.
	Time int64 `cbor:"6,keyasint"`
	// Type and Signature are the type and the signature version of the values: the form.
	Type      uint8 `cbor:"7,keyasint"`
	Signature uint8 `cbor:"8,keyasint"`
	// Hash is the kernel's number of the hash (enum hash_algo).
	Hash uint8 `cbor:"9,keyasint"`
	// Digests are the digests, one after the other.
	Digests []byte `cbor:"10,keyasint"`
	// Origins are the containers that the digests are claimed to come from, in the order in
	// which the claims name them first. Each is named.
	Origins []Origin `cbor:"11,keyasint,omitempty"`
	// Claims are empty, or say of each digest what it is of.
	Claims []Claim `cbor:"12,keyasint,omitempty"`
}

// Origin is a container, according to the client.
type Origin struct {
	// Container is its kind, as in a manifest: tree, rpm, and so on; a name as of a key.
	Container string `cbor:"1,keyasint"`
	// Name is its name in a manifest: raw bytes, as in a file name.
	Name []byte `cbor:"2,keyasint,omitempty"`
	// Header is the main header of an RPM package, from its magic number to the end of its
	// store, and Signature the OpenPGP signature over exactly these bytes (tag 268 or 267, or one of the
	// signatures in tag 278). Both are empty unless the service wants them.
	Header    []byte `cbor:"3,keyasint,omitempty"`
	Signature []byte `cbor:"4,keyasint,omitempty"`
}

// Claim says of one digest what it is of, according to the client.
type Claim struct {
	_ struct{} `cbor:",toarray"`
	// Origin is an index of Request.Origins.
	Origin uint64
	// Path is the path in the container: raw bytes.
	Path []byte
	// IMA is the value of security.ima that the metadata includes, if the form is one of
	// security.evm. Otherwise it is empty.
	IMA []byte
}

// Form returns the form of the signatures.
func (r *Request) Form() (ima.Form, error) {
	return FormOf(r.Type, r.Signature)
}

// FormOf returns the form with a type and a signature version. Errors wrap [ErrMalformed].
func FormOf(kind, version uint8) (ima.Form, error) {
	for _, f := range []ima.Form{
		ima.ContentSignature(), ima.ContentSignature().V3(), ima.VeritySignature(),
		ima.PortableSignature(), ima.PortableSignature().V3(),
	} {
		if uint8(f.Type) == kind && f.Version == version {
			return f, nil
		}
	}
	return ima.Form{}, fmt.Errorf("%w: no values of type %#02x have signatures of version %d", ErrMalformed, kind, version)
}

// Split returns the digests.
func (r *Request) Split() [][]byte {
	size := ima.HashID(r.Hash).Size()
	digests := make([][]byte, 0, len(r.Digests)/max(size, 1))
	for rest := r.Digests; size > 0 && len(rest) >= size; rest = rest[size:] {
		digests = append(digests, rest[:size:size])
	}
	return digests
}

// At returns when the request was made, according to the client.
func (r *Request) At() time.Time { return time.Unix(r.Time, 0).UTC() }

// Check refuses a request that no service can grant. Errors wrap [ErrMalformed].
func (r *Request) Check() error {
	_, err := r.Form()
	return first(
		checkVersion(r.Version), err, checkAudience(r.Audience), CheckName(r.Key),
		checkSize("the requester's key", r.Requester, ed25519.PublicKeySize), checkSize("the id", r.ID, IDSize), checkTime(r.Time),
		r.checkDigests(), checkClaims(r.Origins, r.Claims), r.checkIMA(),
	)
}

func (r *Request) check() error { return r.Check() }

func (r *Request) checkDigests() error {
	hash := ima.HashID(r.Hash)
	size := hash.Size()
	switch {
	case hash.CheckSigns() != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, hash.CheckSigns())
	case r.Type == uint8(ima.TypeVerity) && hash != ima.SHA256 && hash != ima.SHA512:
		return fmt.Errorf("%w: fs-verity has no digests by %s", ErrMalformed, hash)
	case size == 0, len(r.Digests) == 0, len(r.Digests)%size != 0:
		return fmt.Errorf("%w: %d bytes are no digests by %s", ErrMalformed, len(r.Digests), hash)
	case len(r.Digests)/size > MaxDigests:
		return fmt.Errorf("%w: it has %d digests, at most %d are allowed", ErrMalformed, len(r.Digests)/size, MaxDigests)
	case len(r.Claims) > 0 && len(r.Claims) != len(r.Digests)/size:
		return fmt.Errorf("%w: %d claims for %d digests", ErrMalformed, len(r.Claims), len(r.Digests)/size)
	}
	return nil
}

func (r *Request) checkIMA() error {
	for i := range r.Claims {
		if len(r.Claims[i].IMA) > 0 && r.Type != uint8(ima.TypeEVMPortable) {
			return fmt.Errorf("%w: claim %d has a value of security.ima, which only EVM signatures cover", ErrMalformed, i)
		}
	}
	return nil
}

// checkClaims refuses claims of containers that are not there, and containers that no claim
// names: they would be work and space for nothing. In their order, two lists of the same
// containers are equal.
func checkClaims(origins []Origin, claims []Claim) error {
	for i := range origins {
		o := &origins[i]
		if err := first(checkName("the kind of a container", o.Container), checkLength("the name of a container", o.Name, MaxPath)); err != nil {
			return err
		}
		if len(o.Signature) > 0 && len(o.Header) == 0 {
			return fmt.Errorf("%w: a signature without the header that it is over", ErrMalformed)
		}
	}
	named := uint64(0)
	for i := range claims {
		c := &claims[i]
		if c.Origin >= uint64(len(origins)) || c.Origin > named {
			return fmt.Errorf("%w: claim %d is of container %d of %d, and the first of container %d is missing", ErrMalformed, i, c.Origin, len(origins), named)
		}
		if c.Origin == named {
			named++
		}
		if err := first(checkLength("a path", c.Path, MaxPath), checkLength("a value of security.ima", c.IMA, MaxIMA)); err != nil {
			return err
		}
	}
	if named != uint64(len(origins)) {
		return fmt.Errorf("%w: no claim is of container %d", ErrMalformed, named)
	}
	return nil
}
