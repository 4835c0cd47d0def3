package shards_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
	"github.com/imasign/imasign-build/pkg/ima"
)

// parts are the parts of a shard.
type parts struct {
	head    []uint32 // after "imashard": version, first byte, groups, entries, size of the table, zero
	groups  [][]byte
	entries [][]byte // address, offset
	records [][]byte
}

// sample returns a shard with two groups and three entries.
func sample(t *testing.T) []byte {
	t.Helper()
	var some []sigcache.Entry
	for n, k := range [][]byte{key(t), key(t)} {
		for i := uint32(0); len(some) < 2+n; i++ {
			digest := sha256.Sum256(binary.BigEndian.AppendUint32(nil, i))
			e := sigcache.Entry{Key: k, Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:], Signature: []byte("a signature")}
			if e.Address()[0] == 7 {
				some = append(some, e)
			}
		}
	}
	_, text, err := shards.Build(some)
	check(t, err)
	return text
}

// split returns the parts of a sample.
func split(t *testing.T, text []byte) *parts {
	t.Helper()
	text = slices.Clone(text)
	p := new(parts)
	for i := range 6 {
		p.head = append(p.head, binary.BigEndian.Uint32(text[8+4*i:]))
	}
	half := p.head[4] / 2
	p.groups = [][]byte{text[32 : 32+half : 32+half], text[32+half : 32+2*half : 32+2*half]}
	rest := text[32+2*half:]
	for i := range 3 {
		p.entries = append(p.entries, rest[36*i:36*i+36])
	}
	for i := range 3 {
		start, end := binary.BigEndian.Uint32(p.entries[i][32:]), uint32(len(text))
		if i < 2 {
			end = binary.BigEndian.Uint32(p.entries[i+1][32:])
		}
		p.records = append(p.records, text[start:end])
	}
	if !bytes.Equal(p.join(0), text) {
		t.Fatal("the test splits shards wrongly")
	}
	return p
}

// join returns the shard, after it has set the sizes and offsets. gap is the number of bytes
// between the tables and the records.
func (p *parts) join(gap int) []byte {
	table := bytes.Join(p.groups, nil)
	p.head[2], p.head[3], p.head[4] = uint32(len(p.groups)), uint32(len(p.entries)), uint32(len(table))
	text := []byte("imashard")
	for _, n := range p.head {
		text = binary.BigEndian.AppendUint32(text, n)
	}
	text = append(text, table...)
	offset := len(text) + 36*len(p.entries) + gap
	for i, e := range p.entries {
		text = binary.BigEndian.AppendUint32(append(text, e[:32]...), uint32(offset))
		offset += len(p.records[i])
	}
	return append(append(text, make([]byte, gap)...), bytes.Join(p.records, nil)...)
}

// TestDamagedShards reads files whose name and size are right.
func TestDamagedShards(t *testing.T) {
	whole := sample(t)
	for name, c := range map[string]struct {
		change func(p *parts) []byte
		want   string
	}{
		"reserved":   {func(p *parts) []byte { p.head[5] = 1; return p.join(0) }, "its header is wrong"},
		"version 0":  {func(p *parts) []byte { p.head[0] = 0; return p.join(0) }, "its header is wrong"},
		"first byte": {func(p *parts) []byte { p.head[1] = 8; return p.join(0) }, "does not agree with the index"},
		"number of groups": {func(p *parts) []byte {
			text := p.join(0)
			text[19]++
			return text
		}, "2 groups, not 3"},
		"order of groups": {func(p *parts) []byte { slices.Reverse(p.groups); return p.join(0) }, "the groups are not sorted"},
		"group twice":     {func(p *parts) []byte { p.groups = append(p.groups, p.groups[1]); return p.join(0) }, "the groups are not sorted"},
		"unused group": {func(p *parts) []byte {
			more := slices.Clone(p.groups[1])
			more[len(more)-1]++
			p.groups = append(p.groups, more)
			return p.join(0)
		}, "group 2 has no entry"},
		"unknown form": {func(p *parts) []byte { p.groups[1][len(p.groups[1])-2] = 3; return p.join(0) }, "group 1 has no known form"},
		"unknown hash": {func(p *parts) []byte { p.groups[1][len(p.groups[1])-1] = 99; return p.join(0) }, "group 1 has no known form"},
		"short group":  {func(p *parts) []byte { p.groups[1] = p.groups[1][:50]; return p.join(0) }, "group 1 is incomplete"},
		"order of entries": {func(p *parts) []byte {
			p.entries[0], p.entries[1] = p.entries[1], p.entries[0]
			p.records[0], p.records[1] = p.records[1], p.records[0]
			return p.join(0)
		}, "entry 1 is not sorted"},
		"entry twice": {func(p *parts) []byte {
			p.entries[1], p.records[1] = p.entries[0], p.records[0]
			return p.join(0)
		}, "entry 1 is not sorted"},
		"gap":           {func(p *parts) []byte { return p.join(1) }, "entry 0 has a record from"},
		"unknown group": {func(p *parts) []byte { p.records[1][1] = 2; return p.join(0) }, "entry 1 is of group 2 of 2"},
		"no signature":  {func(p *parts) []byte { p.records[1] = p.records[1][:34]; return p.join(0) }, "entry 1 has no signature"},
		"no record":     {func(p *parts) []byte { p.records[1] = nil; return p.join(0) }, "entry 1 has a record from"},
		"large record":  {func(p *parts) []byte { p.records[1] = make([]byte, 1<<17); return p.join(0) }, "entry 1 has a record from"},
		"other digest":  {func(p *parts) []byte { p.records[1][2]++; return p.join(0) }, "entry 1 has another address"},
		"other address": {func(p *parts) []byte { p.entries[2][31]++; return p.join(0) }, "entry 2 has another address"},
	} {
		p := split(t, whole)
		text := c.change(p)
		s := shards.Shard{First: 7, SHA256: sha256.Sum256(text), Size: int64(len(text)), Entries: 3}
		var failed error
		for _, err := range shards.Entries(bytes.NewReader(text), &s) {
			failed = err
		}
		if !errors.Is(failed, shards.ErrDamaged) || !strings.Contains(failed.Error(), c.want) {
			t.Errorf("%s: %v", name, failed)
		}
	}
}

func TestNewerShard(t *testing.T) {
	p := split(t, sample(t))
	p.head[0] = 2
	text := p.join(0)
	s := shards.Shard{First: 7, SHA256: sha256.Sum256(text), Size: int64(len(text)), Entries: 3}
	if _, err := shards.NewFile(bytes.NewReader(text), &s); !errors.Is(err, shards.ErrNewer) {
		t.Error(err)
	}
}
