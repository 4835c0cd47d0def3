package ext4

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

const (
	direct      = 12 // pointers to blocks in the inode, before those to indirect blocks
	maxIndirect = 3  // levels of indirect blocks
)

// indirect are the block pointers of ext2: twelve direct ones, one to a block of pointers,
// one to a block of such, and one more level. Zero is a hole.
type indirect struct {
	fs    *FileSystem
	root  []byte
	below [maxIndirect]pointers // the last block of each level; that of 0 points to data
}

// pointers is a block of pointers.
type pointers struct {
	block uint64
	data  []byte
}

// maxBlocks returns the number of blocks that the inode can have.
func (in *inode) maxBlocks() int64 {
	if in.flags&(flagExtents|flagInline) != 0 {
		return maxBlocks
	}
	per := in.fs.blockSize / 4
	return min(direct+per+per*per+per*per*per, maxBlocks)
}

// find implements mapping.
func (m *indirect) find(logical uint64) (run, error) {
	if logical < direct {
		return m.runAt(m.root[:4*direct], 0, logical)
	}
	per := uint64(m.fs.blockSize / 4)
	level, first, span := 0, uint64(direct), per // span: blocks below a pointer to this level
	for logical-first >= span {
		first, span, level = first+span, span*per, level+1
	}
	block := uint64(le.Uint32(m.root[4*(direct+level):]))
	for ; ; level-- {
		if block == 0 {
			return run{logical: first, blocks: span}, nil
		}
		b, err := m.block(level, block)
		if err != nil {
			return run{}, err
		}
		if level == 0 {
			return m.runAt(b, first, logical)
		}
		span /= per
		i := (logical - first) / span
		first += i * span
		block = uint64(le.Uint32(b[4*i:]))
	}
}

// block returns a block of pointers.
func (m *indirect) block(level int, block uint64) ([]byte, error) {
	p := &m.below[level]
	if p.block != block {
		if p.data == nil {
			p.data = make([]byte, m.fs.blockSize)
		}
		p.block = 0 // until all of it is there
		if err := m.fs.readBlock(block, p.data); err != nil {
			return nil, err
		}
		p.block = block
	}
	return p.data, nil
}

// runAt returns the run that begins at a logical block. The pointers in b are to data, from
// block first on.
func (m *indirect) runAt(b []byte, first, logical uint64) (run, error) {
	b = b[4*(logical-first):]
	r := run{logical: logical, blocks: 1, physical: uint64(le.Uint32(b))}
	for b = b[4:]; len(b) > 0; b = b[4:] {
		next := uint64(le.Uint32(b))
		if r.physical == 0 && next != 0 || r.physical != 0 && next != r.physical+r.blocks {
			break
		}
		r.blocks++
	}
	if r.physical != 0 && !m.fs.valid(r.physical, r.blocks) {
		return run{}, filesystem.Corrupt("%d blocks at block %d of %d", r.blocks, r.physical, m.fs.blocks)
	}
	return r, nil
}
