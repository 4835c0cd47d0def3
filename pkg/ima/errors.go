package ima

import "errors"

// Refusal is one reason for which this package turns something down, in a few stable
// words; see [Reason]. Errors that are returned wrap one and add the detail. Those that
// callers decide by are constants; match them with [errors.Is].
//
//nolint:errname // the constants carry the Err prefix
type Refusal string

// Error returns the reason.
func (r Refusal) Error() string { return string(r) }

// Refusals of a value's form, from [Parse].
const (
	// ErrTruncated: the value ends before its form is complete.
	ErrTruncated Refusal = "truncated"
	// errTrailing: bytes follow the signature or digest.
	errTrailing Refusal = "trailing bytes"
	// ErrByteOrder: the signature's length was written little-endian, an error
	// that shipped in real packages; the kernel refuses such a value.
	ErrByteOrder Refusal = "length in wrong byte order"
	// ErrUnsupportedVersion: a signature version that the kernel, or
	// verification here, does not take under this type.
	ErrUnsupportedVersion Refusal = "unsupported version"
	// errUnknownType: the first byte is none of the kernel's types.
	errUnknownType Refusal = "unknown type"
	// ErrUnknownHash: a hash id or name that the kernel does not have.
	ErrUnknownHash Refusal = "unknown hash"
)

// Refusals of a well-formed value, from [Keyring.Verify].
const (
	// ErrUnsupportedHash: the kernel has this hash, but it cannot be computed
	// here or is not allowed in this place.
	ErrUnsupportedHash Refusal = "unsupported hash"
	// ErrUnknownKey: no trusted key has the value's key id.
	ErrUnknownKey Refusal = "unknown key"
	// ErrDigestMismatch: the signature (or hash) is intact, and is one of
	// another content. Only RSA signatures can tell this.
	ErrDigestMismatch Refusal = "digest mismatch"
	// ErrDigestSize: the given digest does not have the size of its hash.
	ErrDigestSize Refusal = "wrong digest size"
	// errOtherHash: the value is over another hash than the given digest is of, so
	// that neither proves the other.
	errOtherHash Refusal = "over another hash algorithm"
	// ErrBadSignature: the signature does not verify. For ECDSA the content may
	// equally be the part that changed.
	ErrBadSignature Refusal = "bad signature"
	// ErrHashOnly: the value holds the right digest, but no signature.
	ErrHashOnly Refusal = "hash only"
	// errVerity: the signature is over an fs-verity digest, not over that of the
	// content; see [VeritySignature].
	errVerity Refusal = "fs-verity signature"
	// ErrEVMValue: a form of security.evm where another is needed.
	ErrEVMValue Refusal = "evm value"
	// errIMAValue: a form of security.ima where another is needed.
	errIMAValue Refusal = "ima value"
	// errHMAC: an EVM HMAC, which only the machine that made it can check.
	errHMAC Refusal = "evm hmac"
)

// Refusals of keys and of requests.
const (
	// ErrWeakKey: an RSA key under 2048 bits.
	ErrWeakKey Refusal = "weak key"
	// ErrUnsupportedKey: a key algorithm that the kernel does not verify with,
	// or an RSA key of a size it does not take.
	ErrUnsupportedKey Refusal = "unsupported key"
	// ErrNoSubjectKeyID: the certificate has no subject key identifier of four
	// bytes or more, so the kernel would never find it by key id.
	ErrNoSubjectKeyID Refusal = "no subject key id"
	// errMalformedKeyID: a text that is not a key id.
	errMalformedKeyID Refusal = "malformed key id"
	// ErrSHA1: SHA-1 (or MD4, MD5) can be verified but not signed with.
	ErrSHA1 Refusal = "hash too weak to sign with"
	// errNoIMAXattr: a portable EVM signature must cover a security.ima value.
	errNoIMAXattr Refusal = "no security.ima to cover"
)

// Reason returns the [Refusal] inside err as a short stable phrase such as
// "unknown key", for machine-readable output, and "" if err is nil or has
// another cause.
func Reason(err error) string {
	var r Refusal
	if errors.As(err, &r) {
		return string(r)
	}
	return ""
}
