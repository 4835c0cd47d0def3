package file

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/salsa20/salsa" //nolint:staticcheck // deprecated for new designs; scrypt is made of its core
)

// crypto/pbkdf2 and golang.org/x/crypto/scrypt leave copies of the passphrase on the heap,
// which cannot be overwritten. They also cannot be interrupted.

// cancelInterval is the number of rounds between two checks of the context.
const cancelInterval = 1 << 12

// pbkdf2Key derives size bytes (RFC 8018, 5.2).
func pbkdf2Key(ctx context.Context, prf func() hash.Hash, passphrase, salt []byte, iterations, size int) ([]byte, error) {
	mac := keyedHash(prf, passphrase)
	derived := make([]byte, 0, size+mac.Size())
	for block := uint32(1); len(derived) < size; block++ {
		mac.Reset()
		mac.Write(salt)
		mac.Write(binary.BigEndian.AppendUint32(nil, block))
		u := mac.Sum(nil)
		derived = append(derived, u...)
		t := derived[len(derived)-len(u):]
		for i := 1; i < iterations; i++ {
			if i%cancelInterval == 0 && ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			mac.Reset()
			mac.Write(u)
			u = mac.Sum(u[:0])
			for j := range t {
				t[j] ^= u[j]
			}
		}
	}
	return derived[:size], nil
}

// keyedHash returns HMAC. It hashes a key that is longer than a block itself, because
// crypto/hmac would leave the end of the key in the hash's buffer.
func keyedHash(prf func() hash.Hash, key []byte) hash.Hash {
	if h := prf(); len(key) > h.BlockSize() {
		h.Write(key)
		key = h.Sum(nil)
		overwrite(h)
	}
	return hmac.New(prf, key)
}

// overwrite overwrites the buffer in which a hash keeps an unfinished block.
func overwrite(h hash.Hash) {
	h.Reset()
	h.Write(make([]byte, h.BlockSize()-1))
}

// scryptKey derives size bytes (RFC 7914). n, r and p were bounded.
func scryptKey(ctx context.Context, passphrase, salt []byte, n, r, p, size int) ([]byte, error) {
	blocks, err := pbkdf2Key(ctx, sha256.New, passphrase, salt, 1, p*128*r)
	if err != nil {
		return nil, err
	}
	defer clear(blocks)
	table := make([]byte, n*128*r)
	defer clear(table)
	for i := range p {
		if err := romix(ctx, blocks[i*128*r:(i+1)*128*r], table, n); err != nil {
			return nil, err
		}
	}
	return pbkdf2Key(ctx, sha256.New, passphrase, blocks, 1, size)
}

// romix is scryptROMix (RFC 7914, 5) of b, in place. table must have n times the size of b.
func romix(ctx context.Context, b, table []byte, n int) error {
	size := len(b)
	scratch := make([]byte, size)
	for i := range n {
		if i%cancelInterval == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		copy(table[i*size:], b)
		blockMix(b, scratch)
	}
	for i := range n {
		if i%cancelInterval == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		j := int(binary.LittleEndian.Uint64(b[size-64:]) & uint64(n-1)) // n is a power of two
		xor(b, table[j*size:])
		blockMix(b, scratch)
	}
	return nil
}

// blockMix is scryptBlockMix (RFC 7914, 4) of b in place.
func blockMix(b, scratch []byte) {
	var x [64]byte
	copy(x[:], b[len(b)-64:])
	half := len(b) / 128 * 64
	for i := 0; i < len(b); i += 64 {
		xor(x[:], b[i:])
		salsa.Core208(&x, &x)
		at := i / 128 * 64
		if i/64%2 == 1 {
			at += half
		}
		copy(scratch[at:], x[:])
	}
	copy(b, scratch)
}

func xor(dst, src []byte) {
	for i := 0; i+8 <= len(dst); i += 8 {
		binary.NativeEndian.PutUint64(dst[i:], binary.NativeEndian.Uint64(dst[i:])^binary.NativeEndian.Uint64(src[i:]))
	}
}
