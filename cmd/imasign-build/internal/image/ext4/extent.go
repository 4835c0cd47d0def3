package ext4

import (
	"sort"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	extentMagic  = 0xF30A
	extentHeader = 12
	extentEntry  = 12
	maxDepth     = 5
	maxWritten   = 1 << 15 // blocks; extents with more are unwritten, by the rest
)

// extents is a tree of extents. The root is in the inode.
type extents struct {
	fs    *FileSystem
	seed  uint32
	root  node
	below [maxDepth]node // the last node of each level below the root
}

// node is a node of the tree, for logical blocks from first to end.
type node struct {
	block      uint64 // where it is
	first, end uint64
	data       []byte
}

func newExtents(in *inode) (*extents, error) {
	e := &extents{fs: in.fs, seed: in.seed, root: node{end: maxBlocks + 1, data: in.blockMap()}}
	if depth := e.root.depth(); depth > maxDepth {
		return nil, filesystem.Corrupt("an extent tree of depth %d", depth)
	}
	return e, e.check(&e.root, e.root.depth())
}

func (n *node) depth() int         { return int(le.Uint16(n.data[6:])) }
func (n *node) entries() int       { return int(le.Uint16(n.data[2:])) }
func (n *node) entry(i int) []byte { return n.data[extentHeader+i*extentEntry:][:extentEntry] }
func (n *node) key(i int) uint64   { return uint64(le.Uint32(n.entry(i))) }

// search returns the last entry that begins at or before a block, -1 for none, and where
// the next entry begins.
func (n *node) search(logical uint64) (i int, next uint64) {
	i = sort.Search(n.entries(), func(i int) bool { return n.key(i) > logical })
	if next = n.end; i < n.entries() {
		next = n.key(i)
	}
	return i - 1, next
}

// find implements mapping.
func (e *extents) find(logical uint64) (run, error) {
	n := &e.root
	for depth := n.depth(); ; depth-- {
		i, next := n.search(logical)
		if i < 0 {
			return run{logical: n.first, blocks: next - n.first}, nil
		}
		if depth == 0 {
			r := extentAt(n.entry(i))
			if r.has(logical) {
				return r, nil
			}
			return run{logical: r.logical + r.blocks, blocks: next - r.logical - r.blocks}, nil
		}
		var err error
		if n, err = e.child(n, i, next, depth-1); err != nil {
			return run{}, err
		}
	}
}

// child returns the node below the i-th entry of n, which ends where the next one begins.
func (e *extents) child(n *node, i int, end uint64, depth int) (*node, error) {
	entry, c := n.entry(i), &e.below[depth]
	block := uint64(le.Uint32(entry[4:])) | uint64(le.Uint16(entry[8:]))<<32
	if c.block == block && c.first == n.key(i) && c.end == end {
		return c, nil
	}
	if c.data == nil {
		c.data = make([]byte, e.fs.blockSize)
	}
	c.block = 0 // until it is checked
	if err := e.fs.readBlock(block, c.data); err != nil {
		return nil, err
	}
	c.first, c.end = n.key(i), end
	if err := e.check(c, depth); err != nil {
		return nil, err
	}
	if err := e.fs.checkExtents(e.seed, c.data); err != nil {
		return nil, err
	}
	if c.entries() > 0 && c.key(0) != c.first {
		return nil, filesystem.Corrupt("an extent block begins at %d, not %d", c.key(0), c.first)
	}
	c.block = block
	return c, nil
}

// check checks that a node has the depth, and that its entries are in order, do not
// overlap, and stay inside of the node's blocks and the file system.
func (e *extents) check(n *node, depth int) error {
	entries, most := n.entries(), int(le.Uint16(n.data[4:]))
	if le.Uint16(n.data) != extentMagic || n.depth() != depth || most == 0 || entries > most ||
		extentHeader+most*extentEntry > len(n.data) || entries == 0 && depth > 0 {
		return filesystem.Corrupt("a broken header of extents")
	}
	free := n.first // the first block behind the entries so far
	for i := range entries {
		r := run{logical: n.key(i), blocks: 1}
		if depth == 0 {
			r = extentAt(n.entry(i))
			start := uint64(le.Uint32(n.entry(i)[8:])) | uint64(le.Uint16(n.entry(i)[6:]))<<32
			if r.blocks == 0 || !e.fs.valid(start, r.blocks) {
				return filesystem.Corrupt("an extent of %d blocks at block %d of %d", r.blocks, start, e.fs.blocks)
			}
		}
		if r.logical < free || r.logical+r.blocks > n.end {
			return filesystem.Corrupt("extents overlap at block %d", r.logical)
		}
		free = r.logical + r.blocks
	}
	return nil
}

// extentAt decodes a struct ext4_extent.
func extentAt(b []byte) run {
	r := run{logical: uint64(le.Uint32(b)), blocks: uint64(le.Uint16(b[4:]))}
	if r.blocks > maxWritten {
		r.blocks -= maxWritten
		return r
	}
	r.physical = uint64(le.Uint32(b[8:])) | uint64(le.Uint16(b[6:]))<<32
	return r
}
