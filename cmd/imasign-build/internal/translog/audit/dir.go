package audit

import (
	"context"
	"iter"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Dir is the directory of a log or of a copy. A process may have it open.
type Dir string

// String returns the path.
func (d Dir) String() string { return string(d) }

// Checkpoint implements [Log].
func (d Dir) Checkpoint(context.Context) ([]byte, error) { return translog.ReadCheckpoint(string(d)) }

// Walk implements [Log].
func (d Dir) Walk(ctx context.Context, c protocol.Checkpoint) iter.Seq2[translog.Entry, error] {
	return translog.Read(ctx, string(d), c)
}

// Find implements [Log]. It reads the whole log.
func (d Dir) Find(ctx context.Context, c protocol.Checkpoint, leaves []tlog.Hash) ([]*Record, error) {
	q := newQuestion(leaves)
	for e, err := range d.Walk(ctx, c) {
		if err != nil {
			return nil, err
		}
		raw, err := translog.Leaves(e.Details)
		if err != nil {
			return nil, damaged(d, e.Index, "%v", err)
		}
		if !q.concerns(raw) {
			continue
		}
		r, err := Decode(&e)
		if err != nil {
			return nil, damaged(d, e.Index, "%v", err)
		}
		q.answer(r)
	}
	return q.found, nil
}

// question is a set of leaves that are looked for, and the records that have them.
type question struct {
	at    map[tlog.Hash][]int
	found []*Record
}

func newQuestion(leaves []tlog.Hash) *question {
	q := &question{at: make(map[tlog.Hash][]int, len(leaves)), found: make([]*Record, len(leaves))}
	for i, leaf := range leaves {
		q.at[leaf] = append(q.at[leaf], i)
	}
	return q
}

// concerns reports whether one of the leaves in raw is looked for and not found yet.
func (q *question) concerns(raw []byte) bool {
	for ; len(raw) >= tlog.HashSize; raw = raw[tlog.HashSize:] {
		if _, asked := q.at[tlog.Hash(raw[:tlog.HashSize])]; asked {
			return true
		}
	}
	return false
}

// answer notes the leaves of a record, which was verified.
func (q *question) answer(r *Record) {
	small := *r // the details of thousands of records are not kept
	small.Details = nil
	for _, leaf := range r.Leaves() {
		for _, i := range q.at[leaf] {
			q.found[i] = &small
		}
		delete(q.at, leaf)
	}
}
