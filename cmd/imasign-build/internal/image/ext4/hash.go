package ext4

import "math/bits"

// Versions of the hash of names in an indexed directory.
const (
	hashLegacy = iota
	hashHalfMD4
	hashTEA
)

// lastHash is EXT4_HTREE_EOF_32BIT, shifted as hashes are. No name has it.
const lastHash = 0x7fffffff << 1

// hasher hashes names as ext4fs_dirhash in fs/ext4/hash.c does.
type hasher struct {
	version  byte
	unsigned bool // bytes of names are not signed
	seed     [4]uint32
}

func (h *hasher) sum(name string) uint32 {
	state := h.seed
	if state == [4]uint32{} {
		state = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	}
	var sum uint32
	switch h.version {
	case hashHalfMD4:
		for ; name != ""; name = name[min(32, len(name)):] {
			halfMD4(&state, h.words(name, 8))
		}
		sum = state[1]
	case hashTEA:
		for ; name != ""; name = name[min(16, len(name)):] {
			tea(&state, h.words(name, 4))
		}
		sum = state[0]
	default:
		sum = h.legacy(name)
	}
	if sum &^= 1; sum == lastHash {
		sum -= 2
	}
	return sum
}

// value returns a byte of a name as a number.
func (h *hasher) value(b byte) uint32 {
	if h.unsigned {
		return uint32(b)
	}
	return uint32(int8(b))
}

func (h *hasher) legacy(name string) uint32 {
	last, before := uint32(0x12a3fe2d), uint32(0x37abe8f9)
	for i := range len(name) {
		sum := before + (last ^ h.value(name[i])*7152373)
		if sum&(1<<31) != 0 {
			sum -= 0x7fffffff
		}
		before, last = last, sum
	}
	return last << 1
}

// words packs the beginning of a name, and its length for what is missing.
func (h *hasher) words(name string, n int) (words [8]uint32) {
	pad := uint32(len(name))
	pad |= pad << 8
	pad |= pad << 16
	for i := range n {
		words[i] = pad
		for k := 4 * i; k < min(4*i+4, len(name)); k++ {
			words[i] = h.value(name[k]) + words[i]<<8
		}
	}
	return words
}

func tea(state *[4]uint32, in [8]uint32) {
	sum, a, b := uint32(0), state[0], state[1]
	for range 16 {
		sum += 0x9E3779B9
		a += (b<<4 + in[0]) ^ (b + sum) ^ (b>>5 + in[1])
		b += (a<<4 + in[2]) ^ (a + sum) ^ (a>>5 + in[3])
	}
	state[0] += a
	state[1] += b
}

// halfMD4 is three rounds of eight steps of MD4.
func halfMD4(state *[4]uint32, in [8]uint32) {
	s := *state // a, b, c, d; each step changes the one that is i steps before a
	for _, round := range [...]struct {
		mix    func(x, y, z uint32) uint32
		add    uint32
		order  [8]int
		rotate [4]int
	}{
		{func(x, y, z uint32) uint32 { return z ^ x&(y^z) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5A827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ED9EBA1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	} {
		for i, k := range round.order {
			a, b, c, d := (4-i%4)%4, (5-i%4)%4, (6-i%4)%4, (7-i%4)%4
			s[a] = bits.RotateLeft32(s[a]+round.mix(s[b], s[c], s[d])+in[k]+round.add, round.rotate[i%4])
		}
	}
	for i := range state {
		state[i] += s[i]
	}
}
