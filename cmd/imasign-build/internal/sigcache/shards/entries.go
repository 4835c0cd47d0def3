package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"iter"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Entries yields all entries of the shard s, sorted by address. It reads the whole shard, and
// compares everything with s and with the format, but does not verify signatures. The last
// pair may have an error: it wraps [ErrNewer], [ErrDamaged] or is that of r.
func Entries(r io.Reader, s *Shard) iter.Seq2[sigcache.Entry, error] {
	return func(yield func(sigcache.Entry, error) bool) {
		p, err := parse(r, s)
		for ; err == nil && p.next < p.file.entries; p.next++ {
			var e sigcache.Entry
			if e, err = p.entry(); err == nil && !yield(e, nil) {
				return
			}
		}
		if err == nil && slices.Contains(p.used, false) {
			err = damaged("group %d has no entry", slices.Index(p.used, false))
		}
		if err != nil {
			yield(sigcache.Entry{}, err)
		}
	}
}

// parser goes through the content of a shard.
type parser struct {
	shard  *Shard
	file   *File
	data   []byte
	groups []sigcache.Entry // what the entries of each group have in common
	used   []bool           // groups that have an entry
	next   int64            // number of an entry
}

func parse(r io.Reader, s *Shard) (*parser, error) {
	data, err := io.ReadAll(io.LimitReader(r, s.Size+1)) // the index may state a size that the file does not have
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != s.Size {
		return nil, damaged("not %d bytes", s.Size)
	}
	if sha256.Sum256(data) != s.SHA256 {
		return nil, damaged("its SHA-256 digest is not that in its name")
	}
	f, err := NewFile(bytes.NewReader(data), s)
	if err != nil {
		return nil, err
	}
	p := &parser{shard: s, file: f, data: data}
	return p, p.parseGroups(int(binary.BigEndian.Uint32(data[16:])))
}

func (p *parser) parseGroups(n int) error {
	var before []byte
	table := p.data[headerSize:p.file.table]
	for len(table) > 0 && len(p.groups) < maxGroups {
		g, rest := parseGroup(table)
		if rest == nil {
			return damaged("group %d is incomplete", len(p.groups))
		}
		text := table[:len(table)-len(rest)]
		if bytes.Compare(before, text) >= 0 {
			return damaged("the groups are not sorted")
		}
		if g.Form.Over > ima.Metadata || g.Hash.Size() == 0 || len(g.Key) == 0 {
			return damaged("group %d has no known form", len(p.groups))
		}
		p.groups, table, before = append(p.groups, g), rest, text
	}
	if len(table) > 0 || len(p.groups) != n {
		return damaged("%d groups, not %d", len(p.groups), n)
	}
	p.used = make([]bool, n)
	return nil
}

// parseGroup returns the first group of a table, and the rest of the table. The rest is nil if
// the group is incomplete.
func parseGroup(table []byte) (g sigcache.Entry, rest []byte) {
	const tail = 4 // type, version, over, hash
	if len(table) < 2 {
		return g, nil
	}
	key := int(binary.BigEndian.Uint16(table))
	if table = table[2:]; len(table) <= key {
		return g, nil
	}
	g.Key = table[:key:key]
	name := int(table[key])
	if table = table[key+1:]; len(table) < name+tail {
		return g, nil
	}
	f := table[name : name+tail]
	g.Form = ima.Form{Xattr: string(table[:name]), Type: ima.Type(f[0]), Version: f[1], Over: ima.Over(f[2])}
	g.Hash = ima.HashID(f[3])
	return g, table[name+tail:]
}

// entry returns the next entry.
func (p *parser) entry() (e sigcache.Entry, err error) {
	at := p.file.table + entrySize*p.next
	address := p.data[at : at+sha256.Size]
	if address[0] != p.shard.First || p.next > 0 && bytes.Compare(p.data[at-entrySize:][:sha256.Size], address) >= 0 {
		return e, damaged("entry %d is not sorted", p.next)
	}
	start, end := p.start(p.next), p.start(p.next+1)
	if p.next == 0 && start != p.start(-1) || end > p.file.size || end-start < groupSize || end-start > maxRecord {
		return e, damaged("entry %d has a record from %d to %d", p.next, start, end)
	}
	record := p.data[start:end:end]
	g := int(binary.BigEndian.Uint16(record))
	if g >= len(p.groups) {
		return e, damaged("entry %d is of group %d of %d", p.next, g, len(p.groups))
	}
	e, p.used[g] = p.groups[g], true
	size := groupSize + e.Hash.Size()
	if len(record) <= size {
		return e, damaged("entry %d has no signature", p.next)
	}
	e.Digest, e.Signature = record[groupSize:size:size], record[size:]
	if got := e.Address(); !bytes.Equal(got[:], address) {
		return e, damaged("entry %d has another address", p.next)
	}
	return e, nil
}

// start returns the offset of the record of entry n. For the number of entries it is the end
// of the file, and for -1 that of the table of entries.
func (p *parser) start(n int64) int64 {
	switch end := p.file.table + entrySize*p.file.entries; n {
	case -1:
		return end
	case p.file.entries:
		return p.file.size
	default:
		return int64(binary.BigEndian.Uint32(p.data[p.file.table+entrySize*n+sha256.Size:]))
	}
}
