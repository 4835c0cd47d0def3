// Package libcrypto makes RSA signatures with OpenSSL's libcrypto, which is
// about 2.8 times faster at it than crypto/rsa and gives the same bytes.
// It also verifies those of earlier runs.
//
// Load opens libcrypto.so.3 at run time (dlopen): the program needs OpenSSL neither
// to build nor to start. If the library is absent, or the build has no cgo, Load fails
// with ErrUnavailable and callers use crypto/rsa.
//
// Two things make it fast. Each working goroutine keeps a signing and a verifying
// context, and one call from Go signs and verifies up to 128 digests. A call for each
// digest would spend a quarter of the time on the transition to C.
//
// libcrypto blinds the private exponent. Each worker has its own copy of the key.
// Close frees the copies, and libcrypto overwrites them; the Go key that they were made
// from belongs to the caller. A process that forks without exec must not use the
// library in the child.
//
// Parsing keys, choosing keys and the format of values are left to other packages.
package libcrypto

import "errors"

// ErrUnavailable means that libcrypto cannot be used. The error that wraps it
// says why.
var ErrUnavailable = errors.New("libcrypto is not available")

// ErrVerify means that a new signature does not verify with the certificate's public
// key.
var ErrVerify = errors.New("the signature does not verify with the certificate's public key")

// ErrClosed means that a key was used after Close.
var ErrClosed = errors.New("the key is closed")
