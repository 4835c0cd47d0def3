package erofs

import "math/bits"

// filterSeed is EROFS_XATTR_FILTER_SEED.
const filterSeed = 0x25BBE08F

// filterHash returns the hash of an xattr name, without the part that base stands for. Its
// lowest five bits are a bit of the filter in the inode.
func filterHash(base byte, name string) uint32 { return xxh32([]byte(name), filterSeed+uint32(base)) }

// xxh32 is the hash function XXH32.
func xxh32(b []byte, seed uint32) uint32 {
	const prime1, prime2, prime3, prime4, prime5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	size, h := uint32(len(b)), seed+prime5
	if len(b) >= 16 {
		sums := [4]uint32{seed + prime1, seed, seed, seed}
		sums[0] += prime2
		sums[1] += prime2
		sums[3] -= prime1
		for ; len(b) >= 16; b = b[16:] {
			for i := range sums {
				sums[i] = bits.RotateLeft32(sums[i]+u32(b, 4*i)*prime2, 13) * prime1
			}
		}
		h = bits.RotateLeft32(sums[0], 1) + bits.RotateLeft32(sums[1], 7) + bits.RotateLeft32(sums[2], 12) + bits.RotateLeft32(sums[3], 18)
	}
	h += size
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+u32(b, 0)*prime3, 17) * prime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}
