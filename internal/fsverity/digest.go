package fsverity

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// Digest computes the fs-verity digest of one file at a time, whose content is written to
// it. It needs memory for one block of each level of the tree: 16 KiB for a file of 100 GB in
// blocks of 4 KiB. A Digest is not safe for concurrent use.
type Digest struct {
	params Parameters
	hash   hash.Hash
	salt   []byte // padded with zeros to whole blocks of the hash function
	size   uint64 // of the content so far, in bytes
	levels []level
	sum    []byte // a buffer for hashes
}

// level is a level of the Merkle tree. Level 0 has the content, and each further level
// has the hashes of the blocks of the level below.
type level struct {
	block  []byte // the last, incomplete block; its capacity is the block size
	blocks uint64 // that are complete, and whose hashes are in the level above
}

// New returns a Digest of an empty file. The error wraps [ErrParameters].
func New(p Parameters) (*Digest, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	d := &Digest{params: p, hash: p.Hash.New()}
	if len(p.Salt) > 0 {
		d.salt = make([]byte, d.hash.BlockSize()) // one block is longer than any salt
		copy(d.salt, p.Salt)
	}
	d.level(0)
	return d, nil
}

// Reset starts another file.
func (d *Digest) Reset() {
	d.size = 0
	for i := range d.levels {
		d.levels[i].block, d.levels[i].blocks = d.levels[i].block[:0], 0
	}
}

// Write adds content to the file. It never fails.
func (d *Digest) Write(content []byte) (int, error) {
	n := len(content)
	d.size += uint64(n)
	for len(content) > 0 {
		pending := len(d.levels[0].block)
		if pending == 0 && len(content) >= d.params.BlockSize { // not copied
			d.push(0, content[:d.params.BlockSize])
			content = content[d.params.BlockSize:]
			continue
		}
		taken := min(d.params.BlockSize-pending, len(content))
		d.add(0, content[:taken])
		content = content[taken:]
	}
	return n, nil
}

// Sum appends the digest of the file to b. After Sum, the only use of d is Reset.
func (d *Digest) Sum(b []byte) []byte {
	descriptor := d.descriptor(d.root())
	d.hash.Reset()
	d.hash.Write(descriptor[:])
	return d.hash.Sum(b)
}

// level returns a level, which it adds to the tree if necessary.
func (d *Digest) level(n int) *level {
	if n == len(d.levels) {
		d.levels = append(d.levels, level{block: make([]byte, 0, d.params.BlockSize)})
	}
	return &d.levels[n]
}

// add appends data to the incomplete block of level n, in which there is room for it.
func (d *Digest) add(n int, data []byte) {
	l := d.level(n)
	if l.block = append(l.block, data...); len(l.block) == cap(l.block) {
		d.push(n, l.block)
		l = d.level(n) // push may have moved the levels
		l.block = l.block[:0]
	}
}

// push adds the hash of a complete block of level n to the level above.
func (d *Digest) push(n int, block []byte) {
	d.levels[n].blocks++
	d.add(n+1, d.blockHash(block))
}

// blockHash returns the hash of a block. It is valid until the next call.
func (d *Digest) blockHash(block []byte) []byte {
	d.hash.Reset()
	if d.salt != nil {
		d.hash.Write(d.salt)
	}
	d.hash.Write(block)
	d.sum = d.hash.Sum(d.sum[:0])
	return d.sum
}

// root completes the tree and returns its root hash: the hash of the only block of the
// highest level. An empty file has no tree, and zeros in place of the hash.
func (d *Digest) root() []byte {
	if d.size == 0 {
		return nil
	}
	for n := 0; ; n++ {
		if l := d.level(n); len(l.block) > 0 {
			whole := l.block[:cap(l.block)]
			clear(whole[len(l.block):])
			d.push(n, whole)
		}
		if d.levels[n].blocks == 1 {
			return d.levels[n+1].block
		}
	}
}

// descriptor returns struct fsverity_descriptor of fs/verity/fsverity_private.h, without a
// signature: the kernel leaves that out when it computes the digest.
func (d *Digest) descriptor(root []byte) (b [256]byte) {
	b[0] = 1 // version
	b[1] = d.params.algorithm()
	b[2] = byte(bits.TrailingZeros(uint(d.params.BlockSize)))
	b[3] = byte(len(d.params.Salt))
	binary.LittleEndian.PutUint64(b[8:], d.size)
	copy(b[16:80], root)
	copy(b[80:112], d.params.Salt)
	return b
}
