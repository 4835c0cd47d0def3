package translog

import (
	"crypto/sha256"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a Merkle tree (RFC 6962): the roots of its complete subtrees, the
// largest first. It is all that is needed to add records and to compute the root.
type Tree struct {
	size  int64
	roots []tlog.Hash
}

// Size returns the number of records.
func (t *Tree) Size() int64 { return t.size }

// Add appends the hash of a record. It appends to stored the hashes that the record completes,
// in the order of tlog.StoredHashIndex.
func (t *Tree) Add(record tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	hash := record
	stored = append(stored, hash)
	for full := t.size; full&1 == 1; full >>= 1 {
		last := len(t.roots) - 1
		hash = tlog.NodeHash(t.roots[last], hash)
		t.roots = t.roots[:last]
		stored = append(stored, hash)
	}
	t.roots = append(t.roots, hash)
	t.size++
	return stored
}

// Root returns the root of the tree.
func (t *Tree) Root() tlog.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	last := len(t.roots) - 1
	hash := t.roots[last]
	for _, left := range slices.Backward(t.roots[:last]) {
		hash = tlog.NodeHash(left, hash)
	}
	return hash
}
