package ima

import (
	"crypto"
	"fmt"
)

// Form is what a value states and how: as a signature of which version or as a bare
// digest, of what, in which attribute. Two values of a file that have the same Form
// replace each other.
type Form struct {
	Xattr   string // the attribute's name, [XattrIMA] or [XattrEVM]
	Type    Type   // the value's first byte
	Version uint8  // of a signature: 2 or 3, and 1 in legacy values, which are only read; 0 for a digest
	Over    Over   // what the digest is of
}

// Over is what the digest of a [Form] is computed over.
type Over uint8

// What a digest is of.
const (
	Content  Over = iota // the bytes of the file
	Verity               // its fs-verity Merkle tree and descriptor: the fs-verity digest
	Metadata             // its owner, mode and extended attributes: an [EVMDigest]
)

// ContentSignature is the form that every kernel with IMA appraisal verifies: a
// signature of version 2 over the digest of the content, in security.ima.
func ContentSignature() Form { return Form{XattrIMA, TypeSignature, 2, Content} }

// ContentDigest is the digest of the content without a signature, in security.ima;
// [DigestValue] makes it.
func ContentDigest() Form { return Form{XattrIMA, TypeDigestNG, 0, Content} }

// VeritySignature is a signature of version 3 over an fs-verity digest, in
// security.ima. Kernels since 5.19 verify it under rules with "digest_type=verity".
func VeritySignature() Form { return Form{XattrIMA, TypeVerity, 3, Verity} }

// PortableSignature is a signature of version 2 over a portable [EVMDigest], in
// security.evm.
func PortableSignature() Form { return Form{XattrEVM, TypeEVMPortable, 2, Metadata} }

// Signs reports whether values of this form are signatures.
func (f Form) Signs() bool { return f.Version != 0 }

// Form returns the form of a value that was read from the attribute xattr. Of the
// types only 0x03 stands for different things in security.ima and security.evm.
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

// Statement is one thing to sign or to verify: that a file has this digest, said in
// this form. Hash is the digest's algorithm.
type Statement struct {
	Form   Form
	Hash   HashID
	Digest []byte
}

// messages returns what this key signs for statements of one form and hash, and the
// hash to name to it: the digest itself in version 2, the hash of a file_id in version
// 3 (asymmetric_verify and asymmetric_verify_v3 of the kernel's
// security/integrity/digsig_asymmetric.c). Nothing is copied where the messages are the
// digests.
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
	switch {
	case f.Version == 2 && (f.Type == TypeSignature || f.Type == TypeEVMPortable):
		return std, digests, nil
	case f.Version == 3 && f.Type == TypeVerity:
		ids, err := fileIDs(f.Type, h, digests)
		return std, ids, err
	}
	return 0, nil, fmt.Errorf("%w: key %s signs no values of type %s with version %d", ErrUnsupportedVersion, p.id, f.Type, f.Version)
}

// fileIDs returns the hash h of each digest's file_id, as calc_file_id_hash of
// security/integrity/ima/ima_appraise.c computes it.
//
// The file_id is struct ima_file_id of security/integrity/integrity.h without its
// unused end: the value's type, the hash id, and the digest. A digest of one kind can
// then not be taken for one of another. fs-verity has SHA-256 and SHA-512, other hashes
// are [ErrUnsupportedHash].
func fileIDs(t Type, h HashID, digests [][]byte) ([][]byte, error) {
	if h != SHA256 && h != SHA512 {
		return nil, fmt.Errorf("%w: %s, fs-verity has sha256 and sha512", ErrUnsupportedHash, h)
	}
	std, _ := h.CryptoHash()
	sum := std.New()
	hashes := make([][]byte, len(digests))
	for i, digest := range digests {
		sum.Reset()
		sum.Write([]byte{byte(t), byte(h)})
		sum.Write(digest)
		hashes[i] = sum.Sum(nil)
	}
	return hashes, nil
}
