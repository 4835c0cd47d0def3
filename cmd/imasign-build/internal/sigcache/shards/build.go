package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Sizes in bytes; see the package comment.
const (
	magic      = "imashard"
	headerSize = 32
	entrySize  = sha256.Size + 4
	groupSize  = 2 // of the number of a group in a record
	maxRecord  = groupSize + 64 + 64<<10
)

const maxGroups = 1 << 16

// builder collects the entries of one shard.
type builder struct {
	first   byte
	groups  map[string]int // by their bytes; the values are in the order of their first entry
	items   []item
	records []byte // digests and signatures
}

type item struct {
	address    [sha256.Size]byte
	group      int
	start, end int // in records
}

func (b *builder) reset(first byte) {
	*b = builder{first: first, groups: map[string]int{}, items: b.items[:0], records: b.records[:0]}
}

func (b *builder) add(address [sha256.Size]byte, e *sigcache.Entry) error {
	if err := check(e); err != nil {
		return fmt.Errorf("signature %x cannot be shared: %w", address, err)
	}
	g := groupOf(e)
	n, there := b.groups[string(g)]
	if !there {
		n = len(b.groups)
		b.groups[string(g)] = n
	}
	start := len(b.records)
	b.records = append(append(b.records, e.Digest...), e.Signature...)
	b.items = append(b.items, item{address, n, start, len(b.records)})
	if len(b.records) > MaxShard || n >= maxGroups {
		return fmt.Errorf("the signatures whose addresses begin with %02x are more than %d bytes, or have more than %d keys and forms: remove some of them from the cache", b.first, MaxShard, maxGroups)
	}
	return nil
}

// check returns an error for an entry that the format has no room for.
func check(e *sigcache.Entry) error {
	switch {
	case len(e.Key) == 0 || len(e.Key) >= 1<<16:
		return fmt.Errorf("its key has %d bytes", len(e.Key))
	case len(e.Form.Xattr) >= 1<<8:
		return fmt.Errorf("the name of its xattr has %d bytes", len(e.Form.Xattr))
	case e.Form.Over > ima.Metadata:
		return fmt.Errorf("unknown form: over %d", uint8(e.Form.Over))
	case e.Hash.Size() == 0 || e.Hash.Size() != len(e.Digest):
		return fmt.Errorf("its digest has %d bytes: not %s", len(e.Digest), e.Hash)
	case len(e.Signature) == 0 || len(e.Signature) >= 1<<16:
		return fmt.Errorf("it has %d bytes", len(e.Signature))
	}
	return nil
}

func groupOf(e *sigcache.Entry) []byte {
	g := binary.BigEndian.AppendUint16(nil, uint16(len(e.Key)))
	g = append(g, e.Key...)
	g = append(g, byte(len(e.Form.Xattr)))
	g = append(g, e.Form.Xattr...)
	return append(g, byte(e.Form.Type), e.Form.Version, byte(e.Form.Over), byte(e.Hash))
}

// build returns the content of the shard.
func (b *builder) build() (Shard, []byte, error) {
	slices.SortStableFunc(b.items, func(x, y item) int { return bytes.Compare(x.address[:], y.address[:]) })
	b.items = slices.CompactFunc(b.items, func(x, y item) bool { return x.address == y.address })
	table, numbers := b.table()
	size := headerSize + len(table) + entrySize*len(b.items)
	offset := size
	for _, it := range b.items {
		size += groupSize + it.end - it.start
	}
	if size > MaxShard {
		return Shard{}, nil, fmt.Errorf("the shard of addresses that begin with %02x would have %d bytes, more than %d: remove signatures from the cache", b.first, size, MaxShard)
	}
	out := append(make([]byte, 0, size), magic...)
	for _, n := range []int{version, int(b.first), len(numbers), len(b.items), len(table), 0} {
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	out = append(out, table...)
	for _, it := range b.items {
		out = append(out, it.address[:]...)
		out = binary.BigEndian.AppendUint32(out, uint32(offset))
		offset += groupSize + it.end - it.start
	}
	for _, it := range b.items {
		out = binary.BigEndian.AppendUint16(out, uint16(numbers[it.group]))
		out = append(out, b.records[it.start:it.end]...)
	}
	return Shard{First: b.first, SHA256: sha256.Sum256(out), Size: int64(len(out)), Entries: int64(len(b.items))}, out, nil
}

// table returns the table of groups, and the number that each group has in it, by the value in
// b.groups.
func (b *builder) table() (table []byte, numbers []int) {
	sorted := make([]string, 0, len(b.groups))
	for g := range b.groups {
		sorted = append(sorted, g)
	}
	slices.Sort(sorted)
	numbers = make([]int, len(sorted))
	for i, g := range sorted {
		table = append(table, g...)
		numbers[b.groups[g]] = i
	}
	return table, numbers
}
