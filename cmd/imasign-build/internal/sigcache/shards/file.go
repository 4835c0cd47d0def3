package shards

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// File reads signatures of one shard. Nothing of the shard is kept in memory. Several
// goroutines may use it.
type File struct {
	r       io.ReaderAt
	size    int64
	table   int64 // offset of the table of entries
	entries int64
}

// NewFile returns the shard s, whose content is r. It compares the header with s, but does not
// compute the digest of the content. Errors wrap [ErrNewer], [ErrDamaged] or those of r.
func NewFile(r io.ReaderAt, s *Shard) (*File, error) {
	var head [headerSize]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, short(err)
	}
	if string(head[:8]) != magic {
		return nil, damaged("not a shard of signatures")
	}
	field := func(n int) int64 { return int64(binary.BigEndian.Uint32(head[8+4*n:])) }
	if v := field(0); v > version {
		return nil, ErrNewer
	}
	f := &File{r: r, size: s.Size, table: headerSize + field(4), entries: field(3)}
	switch {
	case field(1) != int64(s.First), field(3) != s.Entries:
		return nil, damaged("its header does not agree with the index")
	case field(0) != version, field(5) != 0, f.table+entrySize*f.entries > f.size:
		return nil, damaged("its header is wrong")
	}
	return f, nil
}

// short replaces the error for an incomplete read.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("the file ends too early")
	}
	return err
}

// page is the number of entries that are read together, once the binary search is that close.
const page = 64

// Get returns the signature at an address, nil if there is none. digest is the one that the
// address was computed with. Errors wrap [ErrDamaged] or are those of the file.
func (f *File) Get(address [sha256.Size]byte, digest []byte) ([]byte, error) {
	low, high := int64(0), f.entries // where the address may be
	for high-low > page {
		middle := low + (high-low)/2
		var at [sha256.Size]byte
		if _, err := f.r.ReadAt(at[:], f.table+entrySize*middle); err != nil {
			return nil, short(err)
		}
		if bytes.Compare(at[:], address[:]) <= 0 {
			low = middle
		} else {
			high = middle
		}
	}
	var buffer [entrySize * (page + 1)]byte
	entries := buffer[:entrySize*min(high-low+1, f.entries-low)] // one more, for the end of the record
	if _, err := f.r.ReadAt(entries, f.table+entrySize*low); err != nil {
		return nil, short(err)
	}
	for len(entries) > 0 && low < high {
		if bytes.Equal(entries[:sha256.Size], address[:]) {
			end := f.size
			if len(entries) > entrySize {
				end = int64(binary.BigEndian.Uint32(entries[entrySize+sha256.Size:]))
			}
			return f.record(int64(binary.BigEndian.Uint32(entries[sha256.Size:])), end, digest)
		}
		entries = entries[entrySize:]
		low++
	}
	return nil, nil
}

// record returns the signature of the record at an offset.
func (f *File) record(offset, end int64, digest []byte) ([]byte, error) {
	if offset < f.table+entrySize*f.entries || end > f.size || end-offset > maxRecord || end-offset <= int64(groupSize+len(digest)) {
		return nil, damaged("a record is from %d to %d", offset, end)
	}
	record := make([]byte, end-offset)
	if _, err := f.r.ReadAt(record, offset); err != nil {
		return nil, short(err)
	}
	digestEnd := groupSize + len(digest)
	if !bytes.Equal(record[groupSize:digestEnd], digest) {
		return nil, damaged("the record at %d has another digest", offset)
	}
	return record[digestEnd:], nil
}
