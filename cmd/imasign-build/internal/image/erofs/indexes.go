package erofs

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

const (
	blockCount   = 1 << 11 // in a distance: the rest is a number of compressed blocks
	partialIndex = 1 << 15 // in di_advise
)

// legacy loads an index of 8 bytes. The array begins 8 bytes after the header.
func (m *mapper) legacy(number int64) (cluster, error) {
	at := roundUp(m.body, 8) + 16 + number*8
	b, err := m.index.read(at, 8)
	if err != nil {
		return cluster{}, err
	}
	advise := u16(b, 0)
	c := cluster{kind: byte(advise & 3), after: at + 8}
	if c.kind != nonHead {
		c.offset, c.block, c.partial = int64(u16(b, 2)), int64(u32(b, 4)), advise&partialIndex != 0
		return c, nil
	}
	c.back, c.ahead = int64(u16(b, 4)), max(1, int64(u16(b, 6)))
	return c, m.count(&c)
}

// count decodes a distance that is a number of compressed blocks.
func (m *mapper) count(c *cluster) error {
	if c.back&blockCount == 0 {
		return nil
	}
	if m.advise&(adviseBig1|adviseBig2) == 0 {
		return filesystem.Corrupt("a number of compressed blocks in a file that has one block an extent")
	}
	c.blocks, c.back = c.back&^blockCount, 1
	return nil
}

// pack is a group of compact indexes: fields of the same number of bits, and a block number
// at the end.
type pack struct {
	data   []byte
	fields int // 2 or 16
	bits   int // of a field: a value, and 2 bits of the type
	low    uint
}

func (p *pack) field(i int) (value int64, kind byte) {
	bit := i * p.bits
	var b [8]byte
	copy(b[:4], p.data[bit/8:])
	v := u32(b[:], 0) >> (bit % 8)
	return int64(v & (1<<p.low - 1)), byte(v>>p.low) & 3
}

// compact loads a compact index.
func (m *mapper) compact(number int64) (cluster, error) {
	at, unit, err := m.locate(number)
	if err != nil {
		return cluster{}, err
	}
	p := pack{fields: 2, low: max(m.bits, 12)}
	if unit == 2 {
		p.fields = 16
	}
	size := int64(p.fields) * unit
	p.bits = int(size-4) * 8 / p.fields
	from := at &^ (size - 1)
	if p.data, err = m.index.read(from, int(size)); err != nil {
		return cluster{}, err
	}
	i := int((at - from) / unit)
	value, kind := p.field(i)
	c := cluster{kind: kind, after: from + size}
	if kind != nonHead {
		c.offset = value
		blocks, err := m.before(&p, i)
		c.block = int64(u32(p.data, int(size)-4)) + blocks
		return c, err
	}
	c.back, c.ahead = value, 1
	if i == p.fields-1 && value&blockCount == 0 {
		c.back, c.ahead = 1, max(1, value) // the last one has the distance to the next head
		if value, kind = p.field(i - 1); kind == nonHead && value&blockCount == 0 {
			c.back = value + 1
		} else if kind == nonHead {
			c.back = 2
		}
	}
	return c, m.count(&c)
}

// locate returns the position of a compact index, and its share of a pack in bytes. Indexes
// of 4 bytes come first, to an alignment, then those of 2 bytes in whole packs.
func (m *mapper) locate(number int64) (at, unit int64, err error) {
	at = roundUp(m.body, 8) + 8
	total := (m.Size-1)>>m.fs.blockBits + 1
	first, small := (32-at%32)/4&7, int64(0)
	if m.advise&advise2Byte != 0 && first < total {
		small = (total - first) &^ 15
	}
	switch {
	case number < first:
		return at + 4*number, 4, nil
	case number >= first+small:
		return at + 4*first + 2*small + 4*(number-first-small), 4, nil
	case m.bits > 12:
		return 0, 0, filesystem.Unsupported("small indexes of clusters of 2^%d bytes", m.bits)
	}
	return at + 4*first + 2*(number-first), 2, nil
}

// before counts the compressed blocks of a pack that are before a head.
func (m *mapper) before(p *pack, i int) (blocks int64, err error) {
	big := m.advise&adviseBig1 != 0
	if !big {
		blocks = 1
	}
	for i > 0 {
		i--
		value, kind := p.field(i)
		switch {
		case kind != nonHead:
			blocks++
		case !big:
			if i -= int(value); i >= 0 {
				blocks++
			}
		case value&blockCount != 0:
			i--
			blocks += value &^ blockCount
		case value <= 1:
			return 0, filesystem.Corrupt("a compact index with distance %d", value)
		default:
			i -= int(value) - 2
		}
	}
	return blocks, nil
}
