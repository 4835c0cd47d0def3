package ima

import "errors"

// Refusal is a reason why this package refuses a value, a key or a request, in a few
// stable words. Errors of this package wrap one and add details. The refusals that
// callers act on are exported constants: match them with [errors.Is]. [Reason] returns
// the text of any refusal.
//
//nolint:errname // the constants carry the Err prefix
type Refusal string

// Error returns the reason.
func (r Refusal) Error() string { return string(r) }

// Refusals of malformed values, from [Parse].
const (
	// ErrTruncated: the value is too short for its type.
	ErrTruncated Refusal = "truncated"
	// errTrailing: bytes follow the signature or digest.
	errTrailing Refusal = "trailing bytes"
	// ErrByteOrder: the length of the signature is stored little-endian. Such values
	// have shipped in real packages. The kernel refuses them.
	ErrByteOrder Refusal = "length in wrong byte order"
	// ErrUnsupportedVersion: a signature version that the kernel or this package does
	// not support for this type.
	ErrUnsupportedVersion Refusal = "unsupported version"
	// errUnknownType: the first byte is not a type that the kernel defines.
	errUnknownType Refusal = "unknown type"
	// ErrUnknownHash: a hash id or name that the kernel does not define.
	ErrUnknownHash Refusal = "unknown hash"
)

// Refusals of a well-formed value, from [Keyring.Verify].
const (
	// ErrUnsupportedHash: the kernel defines this hash, but it cannot be computed here
	// or is not allowed in this form.
	ErrUnsupportedHash Refusal = "unsupported hash"
	// ErrUnknownKey: no trusted key has the value's key id.
	ErrUnknownKey Refusal = "unknown key"
	// ErrDigestMismatch: the value is intact, but is over other content. Only bare
	// digests and RSA signatures can tell this.
	ErrDigestMismatch Refusal = "digest mismatch"
	// ErrDigestSize: the given digest does not have the size of its hash.
	ErrDigestSize Refusal = "wrong digest size"
	// errOtherHash: the value and the given digest are of different hash algorithms,
	// so they cannot be compared.
	errOtherHash Refusal = "over another hash algorithm"
	// ErrBadSignature: the signature is not valid. For ECDSA it is unknown whether the
	// signature or the content changed.
	ErrBadSignature Refusal = "bad signature"
	// ErrHashOnly: the value holds the right digest, but no signature.
	ErrHashOnly Refusal = "hash only"
	// errVerity: the signature is over an fs-verity digest, not over the digest of the
	// content; see [VeritySignature].
	errVerity Refusal = "fs-verity signature"
	// ErrEVMValue: a form of security.evm where another form is needed.
	ErrEVMValue Refusal = "evm value"
	// errIMAValue: a form of security.ima where another form is needed.
	errIMAValue Refusal = "ima value"
	// errHMAC: an EVM HMAC, which only the machine that made it can check.
	errHMAC Refusal = "evm hmac"
)

// Refusals of keys and of requests.
const (
	// ErrWeakKey: an RSA key under 2048 bits.
	ErrWeakKey Refusal = "weak key"
	// ErrUnsupportedKey: a key algorithm, or a size of an RSA key, that the kernel
	// cannot verify with.
	ErrUnsupportedKey Refusal = "unsupported key"
	// ErrPurpose: the key is for another kind of signature; see [Purpose].
	ErrPurpose Refusal = "wrong purpose"
	// ErrBothXattrs: one key is trusted for version 2 signatures in security.ima and in
	// security.evm, which do not cover which of the two they are.
	ErrBothXattrs Refusal = "one key for both xattrs"
	// ErrNoSubjectKeyID: the certificate has no subject key identifier of at least
	// four bytes, so the kernel never finds it by key id.
	ErrNoSubjectKeyID Refusal = "no subject key id"
	// errMalformedKeyID: a text that is not a key id.
	errMalformedKeyID Refusal = "malformed key id"
	// ErrSHA1: no signatures are made over SHA-1, MD5 or MD4. Old ones can be verified.
	ErrSHA1 Refusal = "hash too weak to sign with"
	// errNoIMAXattr: a portable EVM signature must cover a security.ima value.
	errNoIMAXattr Refusal = "no security.ima to cover"
)

// Reason returns the text of the [Refusal] that err wraps, such as "unknown key", for
// machine-readable output. It returns "" if err is nil or has another cause.
func Reason(err error) string {
	var r Refusal
	if errors.As(err, &r) {
		return string(r)
	}
	return ""
}
