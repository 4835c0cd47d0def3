package erofs

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

// Limits of the kernel, in bytes.
const (
	maxCompressed = 1 << 20
	maxDecoded    = 12 << 20
)

// Bits of h_advise in struct z_erofs_map_header.
const (
	advise2Byte      = 1 << 0 // of compact indexes
	adviseExtents    = 1 << 0 // of legacy indexes
	adviseBig1       = 1 << 1
	adviseBig2       = 1 << 2
	adviseInline     = 1 << 3
	adviseInterlaced = 1 << 4
	adviseFragment   = 1 << 5
	// wholeFragment in the highest bit of the header: the file is in the packed inode.
	wholeFragment = 1 << 63
)

// Types of logical clusters.
const (
	plainHead = iota
	head1
	nonHead
	head2
)

// extent is a range of a file that is encoded as one piece.
type extent struct {
	from, end int64 // in the file
	at        int64 // position of the data in the image, or in the packed inode
	size      int   // bytes of the data
	algorithm int
	partial   bool // the data may decode to more
	fragment  bool // the data is in the packed inode
}

func (e *extent) holds(at int64) bool { return at >= e.from && at < e.end }

// cluster is the index of a logical cluster (struct z_erofs_lcluster_index). An extent
// begins in its head, and ends where the next extent begins.
type cluster struct {
	kind   byte
	number int64
	after  int64 // position behind the index

	// Of heads:
	offset  int64 // of the begin of the extent in the cluster
	block   int64
	partial bool

	// Of others:
	back, ahead int64 // distance to the head, or some of it; to the next head
	blocks      int64 // compressed blocks of the extent, in the cluster after the head
}

// mapper finds the extents of a compressed file.
type mapper struct {
	*node

	fs         *FileSystem
	index      *window
	advise     uint16
	algorithms [2]int
	bits       uint    // of the size of a cluster
	last       int64   // number of the last cluster
	inline     int     // bytes of the last extent that are behind the indexes
	fragment   int64   // position of the last extent in the packed inode
	whole      bool    // the file is one fragment
	next       cluster // head of the extent after the one that was found before
}

// newMapper reads the header of the indexes. The file is not empty.
func newMapper(f *FileSystem, n *node, index *window) (*mapper, error) {
	b, err := index.read(roundUp(n.body, 8), 8)
	if err != nil {
		return nil, err
	}
	m := &mapper{node: n, fs: f, index: index}
	if all := u64(b, 0); all&wholeFragment != 0 {
		m.whole, m.fragment = true, int64(all&^wholeFragment)
		return m, nil
	}
	m.advise, m.bits = u16(b, 4), f.blockBits+uint(b[7]&15)
	m.algorithms = [2]int{int(b[6] & 15), int(b[6] >> 4)}
	m.last = (n.Size - 1) >> m.bits
	m.next.number = -1
	switch {
	case m.advise&adviseFragment != 0:
		m.fragment = int64(u32(b, 0))
	case m.advise&adviseInline != 0:
		m.inline = int(u16(b, 2))
	}
	return m, m.check()
}

func (m *mapper) check() error {
	big := m.advise & (adviseBig1 | adviseBig2)
	switch {
	case m.layout == compressedLegacy && m.advise&adviseExtents != 0:
		return filesystem.Unsupported("extents of the 48-bit layout (48bit)")
	case big != 0 && m.fs.incompat&incompatConfigs == 0,
		m.layout == compressedCompact && big != 0 && big != adviseBig1|adviseBig2:
		return filesystem.Corrupt("big clusters that the file system does not have")
	case m.layout == compressedCompact && m.bits > 14:
		return filesystem.Unsupported("compact indexes of clusters of 2^%d bytes", m.bits)
	}
	return nil
}

func (m *mapper) load(number int64) (cluster, error) {
	load := m.legacy
	if m.layout == compressedCompact {
		load = m.compact
	}
	c, err := load(number)
	switch {
	case err != nil:
		return c, err
	case c.kind != nonHead && c.offset>>m.bits != 0:
		return c, filesystem.Corrupt("an extent at %d of a cluster of 2^%d bytes", c.offset, m.bits)
	case c.kind == nonHead && (c.back < 1 || c.back > number):
		return c, filesystem.Corrupt("cluster %d has its head %d before", number, c.back)
	}
	c.number = number
	return c, nil
}

// begin returns the position of the extent of a head.
func (m *mapper) begin(head *cluster) int64 { return head.number<<m.bits | head.offset }

// extentAt returns the extent that holds a position in the file.
func (m *mapper) extentAt(at int64) (extent, error) {
	if m.whole {
		return extent{end: m.Size, at: m.fragment, fragment: true}, nil
	}
	head := m.next
	if head.number < 0 || m.begin(&head) != at {
		var err error
		if head, err = m.head(at); err != nil {
			return extent{}, err
		}
	}
	e, err := m.measure(head)
	if err == nil && !e.holds(at) {
		err = filesystem.Corrupt("cluster %d is not the head of the extent at %d", head.number, at)
	}
	return e, err
}

// head finds the head of the extent that holds a position.
func (m *mapper) head(at int64) (cluster, error) {
	c, err := m.load(at >> m.bits)
	if err == nil && c.kind != nonHead && m.begin(&c) > at {
		if c.number == 0 {
			return c, filesystem.Corrupt("content that begins at %d", c.offset)
		}
		c, err = m.load(c.number - 1)
	}
	for err == nil && c.kind == nonHead {
		if at-c.number<<m.bits > maxDecoded && m.advise&adviseFragment == 0 {
			return c, tooLong()
		}
		c, err = m.load(c.number - c.back)
	}
	return c, err
}

func tooLong() error {
	return filesystem.Unsupported("compressed extents of more than %d bytes", maxDecoded)
}

// measure finds the end of the extent of a head, and its data.
func (m *mapper) measure(head cluster) (extent, error) {
	e := extent{from: m.begin(&head), end: m.Size, partial: head.partial}
	m.next.number = -1
	after, reach := head.after, int64(0)
	var second cluster
	for number := head.number + 1; number <= m.last; number++ {
		if number<<m.bits-e.from > maxDecoded && m.advise&adviseFragment == 0 {
			return e, tooLong()
		}
		c, err := m.load(number)
		if err != nil {
			return e, err
		}
		if number == head.number+1 {
			second = c
		}
		if after = c.after; c.kind == nonHead {
			reach = max(reach, number+c.ahead)
			if c.back > number-head.number || c.blocks > 0 && number != head.number+1 {
				return e, filesystem.Corrupt("cluster %d is not of the extent of cluster %d", number, head.number)
			}
			continue
		}
		if begin := m.begin(&c); begin < m.Size { // otherwise it is behind the end
			if reach > number {
				return e, filesystem.Corrupt("an index that passes cluster %d", number)
			}
			e.end, m.next = begin, c
			break
		}
	}
	if e.end == m.Size && (m.inline > 0 || m.advise&adviseFragment != 0) {
		return m.tail(e, &head, after)
	}
	blocks, err := m.blocks(&head, &second)
	if err != nil {
		return e, err
	}
	if head.block > m.fs.size>>m.fs.blockBits || blocks > maxCompressed>>m.fs.blockBits {
		return e, filesystem.Corrupt("%d compressed blocks at block %d", blocks, head.block)
	}
	e.at, e.size = head.block<<m.fs.blockBits, int(blocks<<m.fs.blockBits)
	return m.encoded(e, head.kind)
}

// blocks returns the number of compressed blocks of an extent. second is the cluster after
// its head, if there is one.
func (m *mapper) blocks(head, second *cluster) (int64, error) {
	big := adviseBig2
	if head.kind == head1 {
		big = adviseBig1
	}
	switch {
	case int(m.advise)&big == 0, head.number == m.last, second.kind != nonHead:
		return 1, nil
	case second.blocks == 0:
		return 0, filesystem.Corrupt("no number of compressed blocks")
	}
	return second.blocks, nil
}

// tail completes the last extent, if its data is a fragment or behind the indexes.
func (m *mapper) tail(e extent, head *cluster, after int64) (extent, error) {
	if m.inline == 0 {
		e.fragment, e.at = true, m.fragment
		if m.layout == compressedLegacy {
			e.at |= head.block << 32
		}
		return e, nil
	}
	e.at, e.size = after, m.inline
	if e.at&(m.fs.blockSize()-1)+int64(e.size) > m.fs.blockSize() {
		return e, filesystem.Corrupt("%d inline bytes that cross a block", e.size)
	}
	return m.encoded(e, head.kind)
}

// encoded completes an extent with its algorithm.
func (m *mapper) encoded(e extent, kind byte) (extent, error) {
	n := e.end - e.from
	switch kind {
	case head1:
		e.algorithm = m.algorithms[0]
	case head2:
		e.algorithm = m.algorithms[1]
	default:
		e.algorithm = algShifted
		if m.advise&adviseInterlaced != 0 {
			e.algorithm = algInterlaced
		}
		if n > int64(e.size) {
			return e, filesystem.Corrupt("%d bytes in %d", n, e.size)
		}
		return e, nil
	}
	if n > maxDecoded {
		return e, tooLong()
	}
	if m.fs.algorithms>>e.algorithm&1 == 0 {
		return e, filesystem.Corrupt("compression algorithm %d, which the file system does not have", e.algorithm)
	}
	return e, nil
}
