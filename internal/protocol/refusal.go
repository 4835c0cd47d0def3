package protocol

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Code says why a request was refused: up to 32 letters a to z and hyphens. Clients and metrics
// use it. Later programs may have more codes; a refusal is final for a client that does not know
// its code.
type Code string

// The codes of refusals.
const (
	Malformed        Code = "malformed"         // not a message of the protocol
	TooLarge         Code = "too-large"         // more than MaxBody bytes, or more digests than the rule allows
	BadSignature     Code = "bad-signature"     // the envelope's signature is not valid
	UnknownRequester Code = "unknown-requester" // no requester has this key, or it was revoked
	WrongCertificate Code = "wrong-certificate" // the client certificate is not the requester's
	WrongAudience    Code = "wrong-audience"    // the request is for another server
	WrongTime        Code = "wrong-time"        // the request is too old, or from the future
	Replayed         Code = "replayed"          // the id was used before
	UnknownKey       Code = "unknown-key"       // no such key
	WrongForm        Code = "wrong-form"        // the key is not for signatures of this form
	NoRule           Code = "no-rule"           // no rule grants it
	Quota            Code = "quota"             // the rule's quota of the day is used up
	NotInHeader      Code = "not-in-header"     // the package header is refused, or lacks a digest
	NotApproved      Code = "not-approved"      // a digest is in no approved manifest
	KeyFailed        Code = "key-failed"        // the key cannot sign now
	LogFailed        Code = "log-failed"        // the log cannot be written now
	Busy             Code = "busy"              // the queue of the key is full
	Draining         Code = "draining"          // the server is about to end
)

// RefusedError is the body of an answer whose HTTP status is not 200. It is also an error.
type RefusedError struct {
	Code Code `cbor:"1,keyasint"`
	// Message says what is wrong, and what to do about it, in one line.
	Message string `cbor:"2,keyasint"`
}

// Refuse returns a refusal.
func Refuse(code Code, format string, args ...any) *RefusedError {
	return &RefusedError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the message and the code.
func (r *RefusedError) Error() string { return fmt.Sprintf("refused (%s): %s", r.Code, r.Message) }

// Status returns the HTTP status of a refusal.
func (c Code) Status() int {
	switch c {
	case Malformed:
		return http.StatusBadRequest
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case UnknownKey:
		return http.StatusNotFound
	case Replayed:
		return http.StatusConflict
	case Quota, Busy:
		return http.StatusTooManyRequests
	case KeyFailed, LogFailed, Draining:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}

// Elsewhere reports whether another server, or this one later, may grant the same request.
func (c Code) Elsewhere() bool {
	return c == KeyFailed || c == LogFailed || c == Busy || c == Draining
}

// Encode returns the encoding of the refusal. Bytes of the message that are not part of a line
// of UTF-8 are replaced, and a long message is cut, so that every refusal can be sent.
func (r *RefusedError) Encode() ([]byte, error) {
	text := strings.Map(func(c rune) rune {
		if notInLine(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(r.Message, "\uFFFD"))
	if len(text) > MaxMessage {
		text = strings.ToValidUTF8(text[:MaxMessage-len("…")], "") + "…"
	}
	return encode(&RefusedError{r.Code, text}, MaxRefusal)
}

func (r *RefusedError) check() error {
	other := func(c rune) bool { return (c < 'a' || c > 'z') && c != '-' }
	if r.Code == "" || len(r.Code) > maxCode || strings.ContainsFunc(string(r.Code), other) {
		return fmt.Errorf("%w: a refusal without a code", ErrMalformed)
	}
	return checkText("the message of a refusal", r.Message, MaxMessage)
}

const maxCode = 32

// DecodeRefusal decodes a refusal. Errors wrap [ErrMalformed].
func DecodeRefusal(body []byte) (*RefusedError, error) {
	var r RefusedError
	if err := decode(body, MaxRefusal, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
