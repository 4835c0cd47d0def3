package ima

import (
	"encoding/binary"
	"fmt"
)

// Codes of version 1 signatures: enum pubkey_algo and digest_algo of the
// kernel's include/linux/digsig.h.
const (
	legacyRSA    = 0
	legacySHA1   = 0
	legacySHA256 = 1
)

// Parse reads a value of security.ima or security.evm. It accepts every type and version
// that the kernel defines, and so one that is never valid: version 1. Integers are big-endian, except the timestamp in version 1.
// Lengths must match exactly.
//
// The result aliases b. Errors wrap a [Refusal]: [ErrTruncated], [ErrByteOrder],
// [ErrUnsupportedVersion], [ErrUnknownHash], in version 1 [ErrUnsupportedKey], or one
// for trailing bytes or an unknown type.
func Parse(b []byte) (Value, error) {
	if len(b) == 0 {
		return Value{}, fmt.Errorf("%w: empty value", ErrTruncated)
	}
	switch t := Type(b[0]); t {
	case TypeDigest:
		return parseDigest(b[1:])
	case typeEVMHMAC:
		return parseHMAC(b[1:])
	case TypeDigestNG:
		return parseDigestNG(b)
	case TypeSignature, TypeEVMPortable, TypeVerity:
		return parseSignature(b)
	}
	return Value{}, fmt.Errorf("%w: first byte is %#02x", errUnknownType, b[0])
}

// parseDigest distinguishes MD5 from SHA-1 as ima_get_hash_algo of the kernel's
// security/integrity/ima/ima_appraise.c does: an MD5 digest has 16 bytes, or 20 with
// four zero bytes at the end.
func parseDigest(digest []byte) (Value, error) {
	v := Value{Type: TypeDigest, Hash: SHA1, Digest: digest}
	if len(digest) == MD5.Size() {
		v.Hash = MD5
		return v, nil
	}
	if err := checkSize(v.Type, len(digest), SHA1.Size()); err != nil {
		return Value{}, err
	}
	if binary.BigEndian.Uint32(digest[MD5.Size():]) == 0 {
		v.Hash = MD5
	}
	return v, nil
}

func parseHMAC(mac []byte) (Value, error) {
	if err := checkSize(typeEVMHMAC, len(mac), hmacSize); err != nil {
		return Value{}, err
	}
	return Value{Type: typeEVMHMAC, Hash: SHA1, Digest: mac}, nil
}

func parseDigestNG(b []byte) (Value, error) {
	if len(b) < 2 {
		return Value{}, fmt.Errorf("%w: digest without a hash id", ErrTruncated)
	}
	v := Value{Type: TypeDigestNG, Hash: HashID(b[1]), Digest: b[2:]}
	if !v.Hash.known() {
		return Value{}, unknownHashError(b[1])
	}
	if err := checkSize(v.Type, len(v.Digest), v.Hash.Size()); err != nil {
		return Value{}, err
	}
	return v, nil
}

func parseSignature(b []byte) (Value, error) {
	if len(b) < 2 {
		return Value{}, fmt.Errorf("%w: signature without a version", ErrTruncated)
	}
	t, version := Type(b[0]), b[1]
	switch {
	case version == 1 && t != TypeVerity:
		return parseLegacy(b)
	case version == 2 && t != TypeVerity, version == 3:
		return parseHeader(b)
	}
	return Value{}, fmt.Errorf("%w: %d in a value of type %s", ErrUnsupportedVersion, version, t)
}

// parseHeader reads struct signature_v2_hdr of security/integrity/integrity.h.
func parseHeader(b []byte) (Value, error) {
	if len(b) < headerSize {
		return Value{}, fmt.Errorf("%w: %d bytes of a %d-byte signature header", ErrTruncated, len(b), headerSize)
	}
	v := Value{
		Type:      Type(b[0]),
		Version:   b[1],
		Hash:      HashID(b[2]),
		KeyID:     KeyID(binary.BigEndian.Uint32(b[3:])),
		Signature: b[headerSize:],
	}
	if !v.Hash.known() {
		return Value{}, unknownHashError(b[2])
	}
	big, little := binary.BigEndian.Uint16(b[7:]), binary.LittleEndian.Uint16(b[7:])
	if err := checkLength(len(v.Signature), int(big), int(little)); err != nil {
		return Value{}, err
	}
	return v, nil
}

// parseLegacy reads a version 1 signature: the type byte, struct signature_hdr of
// include/linux/digsig.h, and one number.
func parseLegacy(b []byte) (Value, error) {
	if len(b) < legacyHeaderSize {
		return Value{}, fmt.Errorf("%w: %d bytes of a %d-byte version 1 header", ErrTruncated, len(b), legacyHeaderSize)
	}
	algorithm, hash, numbers := b[6], b[7], b[16]
	if algorithm != legacyRSA {
		return Value{}, fmt.Errorf("%w: version 1 algorithm %d", ErrUnsupportedKey, algorithm)
	}
	if numbers != 1 {
		return Value{}, fmt.Errorf("%w: version 1 signature of %d numbers", ErrUnsupportedVersion, numbers)
	}
	v := Value{Type: Type(b[0]), Version: b[1], Signature: b[legacyHeaderSize:]}
	switch hash {
	case legacySHA1:
		v.Hash = SHA1
	case legacySHA256:
		v.Hash = SHA256
	default:
		return Value{}, fmt.Errorf("%w: version 1 id %d", ErrUnknownHash, hash)
	}
	v.Legacy = LegacyHeader{
		Timestamp: binary.LittleEndian.Uint32(b[2:]),
		KeyID:     binary.BigEndian.Uint64(b[8:]),
		Bits:      binary.BigEndian.Uint16(b[17:]),
	}
	little := binary.LittleEndian.Uint16(b[17:])
	if err := checkLength(len(v.Signature), bytesOf(v.Legacy.Bits), bytesOf(little)); err != nil {
		return Value{}, err
	}
	return v, nil
}

func bytesOf(bits uint16) int { return (int(bits) + 7) / 8 }

// checkLength compares the number of signature bytes with the length in the header, read
// as big-endian. It is also given the length read as little-endian, to recognise
// [ErrByteOrder].
func checkLength(have, big, little int) error {
	switch {
	case have == 0:
		return fmt.Errorf("%w: no signature after the header", ErrTruncated)
	case have == big:
		return nil
	case have == little:
		return fmt.Errorf("%w: the length of the %d-byte signature is stored little-endian", ErrByteOrder, have)
	case have < big:
		return fmt.Errorf("%w: %d of %d bytes of signature", ErrTruncated, have, big)
	}
	return fmt.Errorf("%w: %d after a signature of %d bytes", errTrailing, have-big, big)
}

func checkSize(t Type, have, want int) error {
	switch {
	case have < want:
		return fmt.Errorf("%w: %d of %d bytes of %s", ErrTruncated, have, want, t)
	case have > want:
		return fmt.Errorf("%w: %d after %d bytes of %s", errTrailing, have-want, want, t)
	}
	return nil
}

func unknownHashError(id byte) error {
	return fmt.Errorf("%w: id %d", ErrUnknownHash, id)
}
