package ima

import (
	"encoding/binary"
	"fmt"
)

// Type is the first byte of a value: enum evm_ima_xattr_type of the kernel's
// security/integrity/integrity.h.
type Type byte

// The types, and the attribute that each belongs in.
const (
	TypeDigest      Type = 0x01 // security.ima: bare SHA-1 or MD5 digest
	typeEVMHMAC     Type = 0x02 // security.evm: HMAC-SHA-1 with the machine's key
	TypeSignature   Type = 0x03 // security.ima: signature over the content's digest; security.evm: over this inode's metadata
	TypeDigestNG    Type = 0x04 // security.ima: digest with its hash id
	TypeEVMPortable Type = 0x05 // security.evm: signature over metadata, valid on any inode
	TypeVerity      Type = 0x06 // security.ima: signature over an fs-verity digest
)

// String returns a short stable name, such as "signature".
func (t Type) String() string {
	switch t {
	case TypeDigest:
		return "digest"
	case typeEVMHMAC:
		return "evm-hmac"
	case TypeSignature:
		return "signature"
	case TypeDigestNG:
		return "digest-ng"
	case TypeEVMPortable:
		return "evm-portable"
	case TypeVerity:
		return "verity"
	}
	return fmt.Sprintf("type(%#02x)", byte(t))
}

// Value is a parsed security.ima or security.evm value.
type Value struct {
	Type    Type
	Version uint8  // signature version: 1 (legacy), 2 or 3; 0 in other values
	Hash    HashID // algorithm of the digest that the value holds or that was signed
	KeyID   KeyID  // only in signatures of version 2 and 3

	// Legacy is set in version 1 signatures only.
	Legacy LegacyHeader

	// Signature is raw RSA PKCS#1 v1.5, ECDSA in ASN.1 DER, or ML-DSA. It is nil if the
	// value is not a signature. After [Parse] it aliases the parsed bytes.
	Signature []byte

	// Digest is the digest or HMAC. It is nil in signatures. If an MD5 digest of
	// type 0x01 is padded to 20 bytes, its four zero bytes are kept. After [Parse]
	// it aliases the parsed bytes.
	Digest []byte
}

// LegacyHeader is the header of a version 1 signature: struct signature_hdr of the
// kernel's include/linux/digsig.h, as "evmctl --rsa" makes it.
type LegacyHeader struct {
	Timestamp uint32 // seconds since 1970; read as little-endian, although signers wrote their own byte order
	KeyID     uint64 // last eight bytes of the SHA-1 over the key in the version 1 key format, big-endian
	Bits      uint16 // length of the signature in bits as the header states it, big-endian
}

// Sizes of fixed parts in bytes.
const (
	headerSize       = 9          // struct signature_v2_hdr
	legacyHeaderSize = 1 + 16 + 2 // type, struct signature_hdr, length of the number
	hmacSize         = 20         // SHA1_DIGEST_SIZE
)

// IsSignature reports whether the value is a signature of any version, over
// content, metadata or an fs-verity digest.
func (v Value) IsSignature() bool {
	return v.Type == TypeSignature || v.Type == TypeEVMPortable || v.Type == TypeVerity
}

// Append appends the encoded value to dst and returns the result. For a value from
// [Parse] these are the bytes that were parsed. Append does not check the fields of v.
func (v Value) Append(dst []byte) []byte {
	switch {
	case v.Type == TypeDigestNG:
		return append(append(dst, byte(v.Type), byte(v.Hash)), v.Digest...)
	case !v.IsSignature():
		return append(append(dst, byte(v.Type)), v.Digest...)
	case v.Version == 1:
		return v.appendLegacy(dst)
	}
	dst = append(dst, byte(v.Type), v.Version, byte(v.Hash))
	dst = binary.BigEndian.AppendUint32(dst, uint32(v.KeyID))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(v.Signature)))
	return append(dst, v.Signature...)
}

func (v Value) appendLegacy(dst []byte) []byte {
	hash := byte(legacySHA1)
	if v.Hash == SHA256 {
		hash = legacySHA256
	}
	dst = append(dst, byte(v.Type), v.Version)
	dst = binary.LittleEndian.AppendUint32(dst, v.Legacy.Timestamp)
	dst = append(dst, legacyRSA, hash)
	dst = binary.BigEndian.AppendUint64(dst, v.Legacy.KeyID)
	dst = append(dst, 1) // how many numbers follow
	dst = binary.BigEndian.AppendUint16(dst, v.Legacy.Bits)
	return append(dst, v.Signature...)
}

// String describes the value in one line for people: its type and version, hash, key id
// and size. The wording may change.
func (v Value) String() string {
	kind := v.kind()
	switch {
	case !v.IsSignature():
		return fmt.Sprintf("%s, %s, %d bytes", kind, v.Hash, len(v.Digest))
	case v.Version == 1:
		return fmt.Sprintf("legacy %s v1, %s, key %016x, %d bytes", kind, v.Hash, v.Legacy.KeyID, len(v.Signature))
	}
	return fmt.Sprintf("%s v%d, %s, key %s, %d bytes", kind, v.Version, v.Hash, v.KeyID, len(v.Signature))
}

func (v Value) kind() string {
	switch v.Type {
	case TypeDigest:
		return "legacy digest"
	case TypeDigestNG:
		return "digest"
	case typeEVMHMAC:
		return "EVM HMAC"
	case TypeEVMPortable:
		return "portable EVM signature"
	case TypeVerity:
		return "fs-verity signature"
	}
	return v.Type.String()
}
