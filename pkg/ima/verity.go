package ima

import (
	"context"
	"fmt"
)

// FileID returns struct ima_file_id of the kernel's security/integrity/integrity.h
// without its unused end: the type 0x06, the hash id, and a file's fs-verity
// digest. Version 3 signatures are over the hash of these bytes, lest a digest
// of one kind be taken for another.
//
// The hash is that of the fs-verity digest; fs-verity has SHA-256 and SHA-512,
// others are [ErrUnsupportedHash]. A digest of wrong size is [ErrDigestSize].
func FileID(h HashID, verityDigest []byte) ([]byte, error) {
	if h != SHA256 && h != SHA512 {
		return nil, fmt.Errorf("ima: %w: %s, fs-verity has sha256 and sha512", ErrUnsupportedHash, h)
	}
	if err := checkDigest(h, verityDigest); err != nil {
		return nil, err
	}
	return append([]byte{byte(TypeVerity), byte(h)}, verityDigest...), nil
}

// FileIDDigest returns the digest that a version 3 signature is over: the hash
// h of [FileID], as calc_file_id_hash of security/integrity/ima/ima_appraise.c
// computes it. Errors are those of [FileID].
func FileIDDigest(h HashID, verityDigest []byte) ([]byte, error) {
	id, err := FileID(h, verityDigest)
	if err != nil {
		return nil, err
	}
	std, _ := h.CryptoHash()
	sum := std.New()
	sum.Write(id)
	return sum.Sum(nil), nil
}

// SignVerity returns one security.ima value a fs-verity digest: type 0x06,
// version 3. Otherwise it is like [Sign]; errors are those of both and of
// [FileID]. Kernels since 5.19 verify such values under rules with
// "digest_type=verity".
func SignVerity(ctx context.Context, s Signer, pub *PublicKey, h HashID, verityDigests [][]byte) ([][]byte, error) {
	digests := make([][]byte, len(verityDigests))
	for i, vd := range verityDigests {
		var err error
		if digests[i], err = FileIDDigest(h, vd); err != nil {
			return nil, err
		}
	}
	return signValues(ctx, s, pub, Value{Type: TypeVerity, Version: 3, Hash: h}, digests)
}

// VerifyVerity checks a security.ima value of type 0x06 against a file's
// fs-verity digest, which must be one of the value's own hash. Nil means that a
// trusted key signed it. Errors are those of [Keyring.Verify] and [FileID];
// other forms of security.ima are [ErrIMAValue], of security.evm [ErrEVMValue].
func (k *Keyring) VerifyVerity(value, verityDigest []byte) error {
	v, err := Parse(value)
	if err != nil {
		return err
	}
	switch v.Type {
	case TypeVerity:
	case TypeEVMHMAC, TypeEVMPortable:
		return fmt.Errorf("ima: %w in %s: %s", ErrEVMValue, XattrIMA, v)
	default:
		return fmt.Errorf("ima: %w: %s is not over an fs-verity digest", ErrIMAValue, v)
	}
	digest, err := FileIDDigest(v.Hash, verityDigest)
	if err != nil {
		return err
	}
	_, err = k.verify(&v, 3, digest)
	return err
}
