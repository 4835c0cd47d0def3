// Package fsverity computes the fs-verity digests of files. Linux computes the same digest
// when fs-verity is enabled on a file, and IMA appraises it under rules with
// "digest_type=verity".
//
// The digest is the hash of struct fsverity_descriptor, which has the file's size, the
// parameters and the root hash of the file's Merkle tree. See
// Documentation/filesystems/fsverity.rst and fs/verity/ in the kernel.
package fsverity

import (
	"crypto"
	_ "crypto/sha256" // the hashes of fs-verity
	_ "crypto/sha512" // the hashes of fs-verity
	"errors"
	"fmt"
	"math/bits"
)

// The limits of the parameters.
const (
	// DefaultBlockSize is the block size of the fsverity program and of most kernels, in
	// bytes.
	DefaultBlockSize = 4096
	// MinBlockSize is the smallest block size, in bytes. Kernels before 6.3 accept only
	// their page size.
	MinBlockSize = 1024
	// MaxBlockSize is the largest page size of Linux, in bytes. A kernel accepts block
	// sizes up to its page size and the block size of the file system.
	MaxBlockSize = 65536
	// MaxSaltSize is the size of the descriptor's field for the salt, in bytes.
	MaxSaltSize = 32
)

// ErrParameters is wrapped by the errors about parameters that no kernel accepts.
var ErrParameters = errors.New("not valid for fs-verity")

// Parameters are what a digest depends on besides the content. Files must be enabled with
// the same parameters.
type Parameters struct {
	Hash      crypto.Hash // SHA-256 or SHA-512
	BlockSize int         // of data and tree, in bytes: a power of two
	Salt      []byte      // at most MaxSaltSize bytes; hashed before each block
}

// Check returns nil if a kernel exists that accepts the parameters.
func (p Parameters) Check() error {
	switch {
	case p.algorithm() == 0:
		return fmt.Errorf("hash %s: %w: it has SHA-256 and SHA-512", p.Hash, ErrParameters)
	case p.BlockSize < MinBlockSize || p.BlockSize > MaxBlockSize || bits.OnesCount(uint(p.BlockSize)) != 1:
		return fmt.Errorf("block size %d: %w: it is a power of two from %d to %d", p.BlockSize, ErrParameters, MinBlockSize, MaxBlockSize)
	case len(p.Salt) > MaxSaltSize:
		return fmt.Errorf("salt of %d bytes: %w: it has at most %d", len(p.Salt), ErrParameters, MaxSaltSize)
	}
	return nil
}

// algorithm returns the hash's number in include/uapi/linux/fsverity.h, 0 for none.
func (p Parameters) algorithm() byte {
	switch p.Hash {
	case crypto.SHA256:
		return 1
	case crypto.SHA512:
		return 2
	}
	return 0
}
