package ima

import (
	"crypto"
	"fmt"
	"hash"
)

// Form is a kind of value: the attribute that it is stored in, its type, its signature
// version, and what its digest is computed over. A new value replaces a file's old value
// of the same Form.
type Form struct {
	Xattr   string // the attribute's name, [XattrIMA] or [XattrEVM]
	Type    Type   // the value's first byte
	Version uint8  // signature version: 2 or 3; 1 in legacy values, which are only read; 0 for a digest
	Over    Over   // what the digest is computed over
}

// Over is what the digest of a [Form] is computed over.
type Over uint8

// The things that a digest is computed over.
const (
	Content  Over = iota // the bytes of the file
	Verity               // the file's Merkle tree and descriptor: the fs-verity digest
	Metadata             // the file's owner, mode and extended attributes: an [EVMDigest]
)

// String returns "content", "fs-verity digest" or "metadata".
func (o Over) String() string {
	return [...]string{"content", "fs-verity digest", "metadata"}[o]
}

// ContentSignature returns the form of a version 2 signature over the digest of the
// content, in security.ima. Every kernel with IMA appraisal verifies it.
func ContentSignature() Form { return Form{XattrIMA, TypeSignature, 2, Content} }

// ContentDigest returns the form of a digest of the content without a signature, in
// security.ima. [DigestValue] makes such a value.
func ContentDigest() Form { return Form{XattrIMA, TypeDigestNG, 0, Content} }

// V3 returns the form of the same value with a version 3 signature, which covers the type
// byte. Linux verifies it from 7.1 on. Forms without a signature stay as they are.
func (f Form) V3() Form {
	if f.Version == 2 {
		f.Version = 3
	}
	return f
}

// VeritySignature returns the form of a version 3 signature over an fs-verity digest,
// in security.ima. Kernels since 5.19 verify it under rules with "digest_type=verity".
func VeritySignature() Form { return Form{XattrIMA, TypeVerity, 3, Verity} }

// PortableSignature returns the form of a version 2 signature over a portable
// [EVMDigest], in security.evm.
func PortableSignature() Form { return Form{XattrEVM, TypeEVMPortable, 2, Metadata} }

// Signs reports whether values of this form are signatures.
func (f Form) Signs() bool { return f.Version != 0 }

// Form returns the form of a value that was read from the attribute xattr. The name of
// the attribute is needed because type 0x03 is over the content in security.ima and over
// the metadata in security.evm.
func (v Value) Form(xattr string) Form {
	f := Form{Xattr: xattr, Type: v.Type, Version: v.Version}
	switch {
	case v.Type == TypeVerity:
		f.Over = Verity
	case v.Type == TypeEVMPortable, v.Type == typeEVMHMAC, xattr == XattrEVM:
		f.Over = Metadata
	}
	return f
}

// Statement is what a signature states: that a file has this digest.
type Statement struct {
	Form   Form   // the form of the value, which says what the digest is computed over
	Hash   HashID // the digest's algorithm
	Digest []byte // Hash.Size() bytes
}

// messages returns the messages that this key signs for digests of one form and hash,
// and the hash to pass to the key with them. In version 2 the message is the digest. In
// version 3 it is the hash of a file_id or, for a [MessageKey], the file_id itself, with
// hash 0. See asymmetric_verify and asymmetric_verify_v3 in the kernel's
// security/integrity/digsig_asymmetric.c. If the messages are the digests, nothing is
// copied.
//
// Errors wrap [ErrUnknownHash], [ErrUnsupportedHash], [ErrDigestSize] or, for a form
// that is not signed, [ErrUnsupportedVersion].
func (p *PublicKey) messages(f Form, h HashID, digests [][]byte) (crypto.Hash, [][]byte, error) {
	for i, digest := range digests {
		if err := checkDigest(h, digest); err != nil {
			return 0, nil, fmt.Errorf("digest %d: %w", i, err)
		}
	}
	std, ok := h.CryptoHash()
	if !ok {
		return 0, nil, fmt.Errorf("%w: %s", ErrUnsupportedHash, h)
	}
	_, pure := p.key.(MessageKey)
	switch {
	case f.Type == TypeVerity && h != SHA256 && h != SHA512:
		return 0, nil, fmt.Errorf("%w: %s, fs-verity has only sha256 and sha512", ErrUnsupportedHash, h)
	case !f.signable():
	case f.Version == 2 && pure:
		return 0, nil, fmt.Errorf("%w: %s key %s makes only version 3 signatures", ErrUnsupportedVersion, p.algorithm, p.id)
	case f.Version == 2:
		return std, digests, nil
	case pure:
		return 0, fileIDs(f.Type, h, digests, nil), nil
	default:
		return std, fileIDs(f.Type, h, digests, std.New()), nil
	}
	return 0, nil, fmt.Errorf("%w: key %s signs no values of type %s with version %d", ErrUnsupportedVersion, p.id, f.Type, f.Version)
}

// signable reports whether the kernel verifies signatures of this type and version.
func (f Form) signable() bool {
	switch f.Type {
	case TypeSignature, TypeEVMPortable:
		return f.Version == 2 || f.Version == 3
	case TypeVerity:
		return f.Version == 3
	}
	return false
}

// fileIDs returns each digest's file_id, or its hash unless sum is nil, as
// calc_file_id_hash of the kernel's security/integrity computes it.
//
// The file_id is struct ima_file_id of security/integrity/integrity.h without its
// unused end: the value's type (one byte), the hash id (one byte), and the digest. The
// type is in it so that a digest of one kind cannot pass for a digest of another kind.
func fileIDs(t Type, h HashID, digests [][]byte, sum hash.Hash) [][]byte {
	ids := make([][]byte, len(digests))
	for i, digest := range digests {
		id := append(append(make([]byte, 0, 2+len(digest)), byte(t), byte(h)), digest...)
		if sum != nil {
			sum.Reset()
			sum.Write(id)
			id = sum.Sum(nil)
		}
		ids[i] = id
	}
	return ids
}
