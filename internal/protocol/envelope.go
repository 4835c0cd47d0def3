package protocol

import (
	"crypto/ed25519"
	"errors"
)

// ErrSignature means that the requester did not sign the request.
var ErrSignature = errors.New("the signature of the request is not valid")

// requestContext precedes the payload in what a requester signs, so that the signature is of
// no use elsewhere.
const requestContext = "imasign-build signing request v1\n"

// envelope is a signed request: the encoded [Request] and the Ed25519 signature (RFC 8032) over
// [requestContext] and these bytes.
type envelope struct {
	_         struct{} `cbor:",toarray"`
	Payload   []byte
	Signature []byte
}

func (e *envelope) check() error {
	return checkSize("the signature", e.Signature, ed25519.SignatureSize)
}

// Seal encodes and signs a request. The key must be r.Requester's. Errors wrap [ErrMalformed].
func Seal(r *Request, key ed25519.PrivateKey) ([]byte, error) {
	payload, err := encode(r, MaxBody)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("sign the request: no Ed25519 key")
	}
	return encode(&envelope{Payload: payload, Signature: ed25519.Sign(key, append([]byte(requestContext), payload...))}, MaxBody)
}

// Open decodes a signed request and verifies its signature with the key that it names. Whether
// that is the key of a known requester, the caller must find out. Errors wrap [ErrMalformed] or
// [ErrSignature].
func Open(body []byte) (*Request, error) {
	var e envelope
	if err := decode(body, MaxBody, &e); err != nil {
		return nil, err
	}
	var r Request
	if err := decode(e.Payload, MaxBody, &r); err != nil {
		return nil, err
	}
	if !ed25519.Verify(r.Requester, append([]byte(requestContext), e.Payload...), e.Signature) {
		return nil, ErrSignature
	}
	return &r, nil
}
