package ima

import (
	"crypto"
	_ "crypto/md5" // these imports link in every hash that CryptoHash returns
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"fmt"
)

// HashID is the kernel's number for a hash algorithm: enum hash_algo of
// include/uapi/linux/hash_info.h. It is one byte of most values.
type HashID uint8

// The hash algorithms that have a name here. [ParseHash] returns the kernel's other
// algorithms too. The SHA-3 ids exist since Linux 6.7.
const (
	md4          HashID = 0
	MD5          HashID = 1
	SHA1         HashID = 2
	RIPEMD160    HashID = 3
	SHA256       HashID = 4
	SHA384       HashID = 5
	SHA512       HashID = 6
	SHA224       HashID = 7
	ripemd128    HashID = 8
	ripemd256    HashID = 9
	ripemd320    HashID = 10
	whirlpool256 HashID = 11
	whirlpool384 HashID = 12
	whirlpool512 HashID = 13
	tiger128     HashID = 14
	tiger160     HashID = 15
	Tiger192     HashID = 16
	SM3          HashID = 17
	streebog256  HashID = 18
	streebog512  HashID = 19
	SHA3_256     HashID = 20 //nolint:revive // as in package crypto
	sha3_384     HashID = 21 //nolint:revive // as in package crypto
	SHA3_512     HashID = 22 //nolint:revive // as in package crypto
)

type hashInfo struct {
	name string
	size int         // bytes
	std  crypto.Hash // 0 if the standard library has no implementation
}

// hashes is hash_algo_name and hash_digest_size of the kernel's crypto/hash_info.c.
// Nothing writes to it.
var hashes = [...]hashInfo{
	md4:          {"md4", 16, 0},
	MD5:          {"md5", 16, crypto.MD5},
	SHA1:         {"sha1", 20, crypto.SHA1},
	RIPEMD160:    {"rmd160", 20, 0},
	SHA256:       {"sha256", 32, crypto.SHA256},
	SHA384:       {"sha384", 48, crypto.SHA384},
	SHA512:       {"sha512", 64, crypto.SHA512},
	SHA224:       {"sha224", 28, crypto.SHA224},
	ripemd128:    {"rmd128", 16, 0},
	ripemd256:    {"rmd256", 32, 0},
	ripemd320:    {"rmd320", 40, 0},
	whirlpool256: {"wp256", 32, 0},
	whirlpool384: {"wp384", 48, 0},
	whirlpool512: {"wp512", 64, 0},
	tiger128:     {"tgr128", 16, 0},
	tiger160:     {"tgr160", 20, 0},
	Tiger192:     {"tgr192", 24, 0},
	SM3:          {"sm3", 32, 0},
	streebog256:  {"streebog256", 32, 0},
	streebog512:  {"streebog512", 64, 0},
	SHA3_256:     {"sha3-256", 32, crypto.SHA3_256},
	sha3_384:     {"sha3-384", 48, crypto.SHA3_384},
	SHA3_512:     {"sha3-512", 64, crypto.SHA3_512},
}

// String returns the kernel's name, such as "sha256", or "hash(N)" for an id
// that the kernel does not have.
func (h HashID) String() string {
	if !h.known() {
		return fmt.Sprintf("hash(%d)", uint8(h))
	}
	return hashes[h].name
}

// Size returns the size of a digest in bytes, or 0 for an unknown id.
func (h HashID) Size() int {
	if !h.known() {
		return 0
	}
	return hashes[h].size
}

// CryptoHash returns the standard library's hash with this id. Its Available method
// always reports true. CryptoHash reports false for a hash that the standard library
// does not implement.
func (h HashID) CryptoHash() (crypto.Hash, bool) {
	if !h.known() || hashes[h].std == 0 {
		return 0, false
	}
	return hashes[h].std, true
}

func (h HashID) known() bool { return int(h) < len(hashes) }

// CheckSigns returns nil if new signatures may be made over digests of this hash. It
// returns [ErrSHA1] for SHA-1, MD5 and MD4, which serve only to verify old signatures,
// [ErrUnknownHash] for an unknown id, and [ErrUnsupportedHash] for a hash that cannot be
// computed here. The errors wrap these.
func (h HashID) CheckSigns() error {
	switch h {
	case md4, MD5, SHA1:
		return fmt.Errorf("%w: %s", ErrSHA1, h)
	}
	if !h.known() {
		return fmt.Errorf("%w: id %d", ErrUnknownHash, uint8(h))
	}
	if _, ok := h.CryptoHash(); !ok {
		return fmt.Errorf("%w: %s", ErrUnsupportedHash, h)
	}
	return nil
}

// ParseHash returns the id of a kernel hash name, such as "sha256". It also accepts
// "sm3-256", the older kernels' name of "sm3". The error wraps [ErrUnknownHash].
func ParseHash(name string) (HashID, error) {
	if name == "sm3-256" {
		return SM3, nil
	}
	for i, info := range hashes {
		if info.name == name {
			return HashID(i), nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrUnknownHash, name)
}

// HashIDOf returns the kernel's id of a standard library hash. It reports false
// for hashes that [HashID.CryptoHash] never returns.
func HashIDOf(h crypto.Hash) (HashID, bool) {
	if h == 0 {
		return 0, false
	}
	for i, info := range hashes {
		if info.std == h {
			return HashID(i), true
		}
	}
	return 0, false
}
