package translog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/internal/protocol"
)

func (l *Log) serveFind(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, protocol.MaxBody))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	leaves, err := ParseFind(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, err := l.Find(r.Context(), leaves)
	if err != nil {
		answer(w, "", nil, err)
		return
	}
	data, err := protocol.EncodeFound(found)
	answer(w, protocol.ContentType, data, err)
}

// ParseFind reads the body of a find request.
func ParseFind(body []byte) ([]tlog.Hash, error) {
	if len(body) == 0 || len(body)%tlog.HashSize != 0 || len(body) > protocol.MaxBody {
		return nil, errors.New("the body must be hashes of leaves, 32 bytes each, at most 1 MiB")
	}
	leaves := make([]tlog.Hash, 0, len(body)/tlog.HashSize)
	for ; len(body) > 0; body = body[tlog.HashSize:] {
		leaves = append(leaves, tlog.Hash(body[:tlog.HashSize]))
	}
	return leaves, nil
}

// Find returns for each leaf the index of the first record that has it, or -1. It reads the
// beginnings of all leaves, in little memory; one search runs at a time.
func (l *Log) Find(ctx context.Context, leaves []tlog.Hash) ([]int64, error) {
	select {
	case l.find <- struct{}{}:
		defer func() { <-l.find }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s := l.state.Load()
	q := newQuestion(leaves)
	const block = 1 << 16
	data := make([]byte, block*prefixSize)
	settled := int64(0) // leaves before it are done
	for at := int64(0); at < s.leaves && q.open > 0; at += block {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := data[:min(block, s.leaves-at)*prefixSize]
		if _, err := l.index.leaves.ReadAt(part, at*prefixSize); err != nil {
			return nil, fmt.Errorf("read the leaves of the log: %w", err)
		}
		for i := at; len(part) > 0; i, part = i+1, part[prefixSize:] {
			if i < settled || !q.maybe(part) {
				continue
			}
			var err error
			if settled, err = l.settle(q, i, s.size); err != nil {
				return nil, err
			}
		}
	}
	return q.found, nil
}

// settle answers for all leaves of the record that has the leaf at a position of the file
// leaves, and returns the position after them.
func (l *Log) settle(q *question, position, size int64) (int64, error) {
	record, first, err := l.recordOfLeaf(position, size)
	if err != nil {
		return 0, err
	}
	details, err := l.details(record)
	if err != nil {
		return 0, err
	}
	leaves, err := leavesOf(details)
	if err != nil {
		return 0, err
	}
	end := first + int64(len(leaves)/tlog.HashSize)
	for ; len(leaves) > 0; leaves = leaves[tlog.HashSize:] {
		q.answer(tlog.Hash(leaves[:tlog.HashSize]), record)
	}
	return max(end, position+1), nil
}

// recordOfLeaf returns the record that has a leaf, and the position of its first leaf.
func (l *Log) recordOfLeaf(position, size int64) (record, first int64, err error) {
	low, high := int64(0), size // the last record whose leaves begin at or before position
	for high-low > 1 {
		middle := (low + high) / 2
		_, leaves, err := l.index.offset(middle)
		if err != nil {
			return 0, 0, err
		}
		if leaves <= position {
			low = middle
		} else {
			high = middle
		}
	}
	_, first, err = l.index.offset(low)
	return low, first, err
}

// question is a set of leaves that are looked for.
type question struct {
	sieve [1 << 13]uint64 // a bit for each value of the first 19 bits of a leaf
	at    map[tlog.Hash][]int
	short map[uint64]bool
	found []int64
	open  int // leaves not yet found
}

func newQuestion(leaves []tlog.Hash) *question {
	q := &question{at: make(map[tlog.Hash][]int, len(leaves)), short: make(map[uint64]bool, len(leaves))}
	for i, leaf := range leaves {
		q.at[leaf] = append(q.at[leaf], i)
		q.found = append(q.found, -1)
		prefix := binary.BigEndian.Uint64(leaf[:])
		q.short[prefix] = true
		q.sieve[prefix>>51] |= 1 << (prefix >> 45 & 63)
	}
	q.open = len(q.at)
	return q
}

// maybe reports whether a leaf with this beginning may be looked for.
func (q *question) maybe(begin []byte) bool {
	prefix := binary.BigEndian.Uint64(begin)
	return q.sieve[prefix>>51]>>(prefix>>45&63)&1 == 1 && q.short[prefix]
}

// answer notes the record of a leaf, if it is looked for and was not found before.
func (q *question) answer(leaf tlog.Hash, record int64) {
	for _, i := range q.at[leaf] {
		q.found[i] = record
	}
	if _, asked := q.at[leaf]; asked {
		q.open--
		delete(q.at, leaf)
	}
}
