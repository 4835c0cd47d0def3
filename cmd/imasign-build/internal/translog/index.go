package translog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// offsetSize is the size in bytes of what offsets has for a record.
const offsetSize = 16

// index is the files that are made from the journal.
type index struct {
	hashes, offsets, leaves *os.File
}

// openIndex opens the files in dir, or makes empty ones.
func openIndex(dir string) (*index, error) {
	x := &index{}
	for name, file := range map[string]**os.File{hashesName: &x.hashes, offsetsName: &x.offsets, leavesName: &x.leaves} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the log: %w", err), x.close())
		}
		*file = f
	}
	return x, nil
}

func (x *index) close() error {
	var errs []error
	for _, f := range []*os.File{x.hashes, x.offsets, x.leaves} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// mark is a place in the journal: after tree.size records.
type mark struct {
	offset int64 // of the next frame
	tree   Tree
	leaves int64
}

// set makes m equal to another mark, and shares no memory with it.
func (m *mark) set(other *mark) {
	m.offset, m.leaves, m.tree.size = other.offset, other.leaves, other.tree.size
	m.tree.roots = append(m.tree.roots[:0], other.tree.roots...)
}

// sizes returns how many bytes of hashes, offsets and leaves are of the records before m.
func (m *mark) sizes() [3]int64 {
	return [3]int64{
		tlog.HashSize * tlog.StoredHashCount(m.tree.size), offsetSize * m.tree.size, prefixSize * m.leaves,
	}
}

// rows are what the index has for some records.
type rows struct {
	hashes  []tlog.Hash
	offsets []byte
	leaves  []byte
}

// add moves m behind the frame of a record and appends what the index has for it.
func (r *rows) add(m *mark, f *frame) error {
	leaves, err := leavesOf(f.details)
	if err != nil {
		return err
	}
	r.offsets = binary.BigEndian.AppendUint64(r.offsets, uint64(m.offset))
	r.offsets = binary.BigEndian.AppendUint64(r.offsets, uint64(m.leaves))
	r.leaves = appendPrefixes(r.leaves, leaves)
	r.hashes = m.tree.Add(tlog.RecordHash(f.body), r.hashes)
	m.leaves += int64(len(leaves) / tlog.HashSize)
	m.offset += f.size()
	return nil
}

func (r *rows) reset() {
	r.hashes, r.offsets, r.leaves = r.hashes[:0], r.offsets[:0], r.leaves[:0]
}

func (r *rows) hashBytes() []byte {
	data := make([]byte, 0, len(r.hashes)*tlog.HashSize)
	for i := range r.hashes {
		data = append(data, r.hashes[i][:]...)
	}
	return data
}

// write writes rows that begin at m.
func (x *index) write(m *mark, r *rows) error {
	sizes := m.sizes()
	_, hashes := x.hashes.WriteAt(r.hashBytes(), sizes[0])
	_, offsets := x.offsets.WriteAt(r.offsets, sizes[1])
	_, leaves := x.leaves.WriteAt(r.leaves, sizes[2])
	return errors.Join(hashes, offsets, leaves)
}

// truncate removes what is of records after m.
func (x *index) truncate(m *mark) error {
	sizes := m.sizes()
	return errors.Join(x.hashes.Truncate(sizes[0]), x.offsets.Truncate(sizes[1]), x.leaves.Truncate(sizes[2]))
}

// ReadHashes returns stored hashes, as a tlog.HashReader.
func (x *index) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		if _, err := x.hashes.ReadAt(hashes[i][:], at*tlog.HashSize); err != nil {
			return nil, fmt.Errorf("read the hashes of the log: %w", err)
		}
	}
	return hashes, nil
}

// offset returns where the frame of a record is in the journal, and the number of leaves before it.
func (x *index) offset(record int64) (offset, leaves int64, err error) {
	var row [offsetSize]byte
	if _, err := x.offsets.ReadAt(row[:], record*offsetSize); err != nil {
		return 0, 0, fmt.Errorf("read the offsets of the log: %w", err)
	}
	return int64(binary.BigEndian.Uint64(row[:])), int64(binary.BigEndian.Uint64(row[8:])), nil
}
