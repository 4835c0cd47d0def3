package ext4

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	indexRoot    = 24 // offset of struct dx_root_info, behind "." and ".."
	indexNode    = 8  // offset of the entries of other nodes
	indexEntry   = 8  // struct dx_entry
	indexTail    = 8  // struct dx_tail
	hashUnsigned = 2  // in s_flags

	// maxLeaves is more than directories with as many names as the walk allows have.
	maxLeaves = 1 << 19
)

// index is the index of a directory (struct dx_root in fs/ext4/namei.c). The kernel searches
// for a name only in the block that the index has for its hash.
type index struct {
	hasher

	leaves []leaf // by block
}

// leaf is a directory block with the names whose hashes are at least from, and below to.
type leaf struct {
	*hasher

	block    uint32
	from, to uint64
}

// leaf returns the leaf of a block: nil without an index, one without names if the index
// does not lead to the block. Such a block may be a node of the index.
func (x *index) leaf(block uint64) *leaf {
	if x == nil {
		return nil
	}
	i, found := slices.BinarySearchFunc(x.leaves, block, func(l leaf, b uint64) int { return cmp.Compare(uint64(l.block), b) })
	if !found {
		return &leaf{hasher: &x.hasher}
	}
	return &x.leaves[i]
}

// node reports whether the block may be a node of the index.
func (l *leaf) node() bool { return l != nil && l.to == 0 }

// check checks that the kernel finds a name.
func (l *leaf) check(name string) error {
	if hash := uint64(l.sum(name)); hash < l.from || hash >= l.to {
		return filesystem.Corrupt("the index of the directory does not lead to %s", quote.Name(name))
	}
	return nil
}

// readIndex reads the index of a directory with content c. It returns nil if the directory
// has none.
func (f *FileSystem) readIndex(in *inode, c *content) (*index, error) {
	if f.features.compat&dirIndex == 0 || in.flags&flagIndex == 0 {
		return nil, nil
	}
	r := indexReader{in: in, content: c}
	root, err := r.block(0)
	if err != nil {
		return nil, err
	}
	info := root[indexRoot:]
	version, length, levels, flags := info[4], int(info[5]), int(info[6]), info[7]
	most := 1
	if f.features.incompat&largeDir != 0 {
		most = 2
	}
	if version > hashTEA || flags&1 != 0 || levels > most || length%4 != 0 {
		return nil, filesystem.Corrupt("an index with hash %d, %d levels, and flags %#x", version, levels, flags)
	}
	if err := r.node(root, indexRoot+length, levels, 0); err != nil {
		return nil, err
	}
	return r.index(hasher{version, f.hashUnsigned, f.hashSeed})
}

// indexReader collects the leaves of an index in the order of their hashes.
type indexReader struct {
	in      *inode
	content *content
	leaves  []leaf // without the ends of their ranges
	nodes   int
}

// block reads a block of the index.
func (r *indexReader) block(logical uint64) ([]byte, error) {
	f := r.content.fs
	if r.nodes++; r.nodes > maxLeaves || logical >= uint64(r.in.size/f.blockSize) {
		return nil, filesystem.Corrupt("block %d of the index of a directory", logical)
	}
	at, err := r.content.run(logical)
	if err != nil {
		return nil, err
	}
	if at.physical == 0 {
		return nil, filesystem.Corrupt("block %d of the index of a directory is a hole", logical)
	}
	b := make([]byte, f.blockSize)
	return b, f.readDirectory(at.physical+logical-at.logical, b)
}

// node takes the entries of a node, which are at an offset of block b. from is the lowest
// hash that leads here.
func (r *indexReader) node(b []byte, offset, levels int, from uint32) error {
	entries := b[offset:]
	limit, count := int(le.Uint16(entries)), int(le.Uint16(entries[2:]))
	space := len(b) - offset
	if r.content.fs.checksums {
		space -= indexTail
	}
	if limit != space/indexEntry || count == 0 || count > limit {
		return filesystem.Corrupt("an index with %d of %d entries in %d bytes", count, limit, space)
	}
	if err := r.content.fs.checkIndex(r.in.seed, b, offset, limit, count); err != nil {
		return err
	}
	for i := range count {
		e := entries[i*indexEntry:]
		if i > 0 { // the first one has the limit and the count instead
			from = le.Uint32(e)
		}
		if err := r.entry(le.Uint32(e[4:])&0x0fffffff, levels, from); err != nil {
			return err
		}
	}
	return nil
}

// entry takes an entry, which leads to a leaf, or to a node with levels below.
func (r *indexReader) entry(block uint32, levels int, from uint32) error {
	if levels > 0 {
		b, err := r.block(uint64(block))
		if err != nil {
			return err
		}
		return r.node(b, indexNode, levels-1, from)
	}
	if len(r.leaves) == maxLeaves {
		return fmt.Errorf("%w: an index of more than %d blocks", filesystem.ErrLimit, maxLeaves)
	}
	r.leaves = append(r.leaves, leaf{block: block, from: uint64(from)})
	return nil
}

// index completes the ranges. An odd hash means that the block has more names with the even
// hash before it, which begin in the block before.
func (r *indexReader) index(h hasher) (*index, error) {
	x := &index{h, r.leaves}
	for i := range r.leaves {
		l := &r.leaves[i]
		l.hasher = &x.hasher
		if l.to = 1 << 32; i+1 < len(r.leaves) {
			l.to = r.leaves[i+1].from
		}
		if l.to < l.from {
			return nil, filesystem.Corrupt("the hashes of an index are not in order")
		}
		l.from &^= 1
	}
	slices.SortFunc(r.leaves, func(a, b leaf) int { return cmp.Compare(a.block, b.block) })
	for i, l := range r.leaves {
		if l.block == 0 || i > 0 && l.block == r.leaves[i-1].block {
			return nil, filesystem.Corrupt("an index leads to block %d twice", l.block)
		}
	}
	return x, nil
}
