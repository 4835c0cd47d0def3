package translog

import (
	"crypto/sha256"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a Merkle tree: the roots of its complete subtrees, the largest
// first. It is all that is needed to add records and to compute the root.
type frontier struct {
	size  int64
	roots []tlog.Hash
}

// add appends the hash of a record. It appends to stored the hashes that the record completes,
// in the order of tlog.StoredHashIndex.
func (f *frontier) add(record tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	hash := record
	stored = append(stored, hash)
	for full := f.size; full&1 == 1; full >>= 1 {
		last := len(f.roots) - 1
		hash = tlog.NodeHash(f.roots[last], hash)
		f.roots = f.roots[:last]
		stored = append(stored, hash)
	}
	f.roots = append(f.roots, hash)
	f.size++
	return stored
}

// root returns the root of the tree.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(f.roots) - 1
	hash := f.roots[last]
	for _, left := range slices.Backward(f.roots[:last]) {
		hash = tlog.NodeHash(left, hash)
	}
	return hash
}
