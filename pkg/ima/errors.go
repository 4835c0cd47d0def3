package ima

import "errors"

// Refusal is one reason for which this package turns something down. The
// constants below are the whole list; match them with [errors.Is]. Errors that
// are returned wrap one of them and add the detail.
//
//nolint:errname // the constants carry the Err prefix
type Refusal string

// Error returns the reason in a few words.
func (r Refusal) Error() string { return string(r) }

// Refusals of a value's form, from [Parse].
const (
	// ErrTruncated: the value ends before its form is complete.
	ErrTruncated Refusal = "truncated"
	// ErrTrailing: bytes follow the signature or digest.
	ErrTrailing Refusal = "trailing bytes"
	// ErrByteOrder: the signature's length was written little-endian, an error
	// that shipped in real packages; the kernel refuses such a value.
	ErrByteOrder Refusal = "length in wrong byte order"
	// ErrUnsupportedVersion: a signature version that the kernel, or
	// verification here, does not take under this type.
	ErrUnsupportedVersion Refusal = "unsupported version"
	// ErrUnknownType: the first byte is none of the kernel's types.
	ErrUnknownType Refusal = "unknown type"
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
	// ErrOtherHash: the value is over another hash than the given digest is of, so
	// that neither proves the other.
	ErrOtherHash Refusal = "over another hash algorithm"
	// ErrBadSignature: the signature does not verify. For ECDSA the content may
	// equally be the part that changed.
	ErrBadSignature Refusal = "bad signature"
	// ErrHashOnly: the value holds the right digest, but no signature.
	ErrHashOnly Refusal = "hash only"
	// ErrVerity: the signature is over an fs-verity digest, not over that of the
	// content; see [VeritySignature].
	ErrVerity Refusal = "fs-verity signature"
	// ErrEVMValue: a form of security.evm where another is needed.
	ErrEVMValue Refusal = "evm value"
	// ErrIMAValue: a form of security.ima where another is needed.
	ErrIMAValue Refusal = "ima value"
	// ErrHMAC: an EVM HMAC, which only the machine that made it can check.
	ErrHMAC Refusal = "evm hmac"
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
	// ErrMalformedKeyID: a text that is not a key id.
	ErrMalformedKeyID Refusal = "malformed key id"
	// ErrSHA1: SHA-1 (or MD4, MD5) can be verified but not signed with.
	ErrSHA1 Refusal = "hash too weak to sign with"
	// ErrNoIMAXattr: a portable EVM signature must cover a security.ima value.
	ErrNoIMAXattr Refusal = "no security.ima to cover"
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
