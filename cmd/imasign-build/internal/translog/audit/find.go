package audit

import (
	"context"
	"net/http"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Find implements [Log]. The server says which records have the leaves, and proves it.
func (r *Remote) Find(ctx context.Context, c protocol.Checkpoint, leaves []tlog.Hash) ([]*Record, error) {
	var indexes []int64
	for part := range slices.Chunk(leaves, protocol.MaxFind) {
		body := make([]byte, 0, len(part)*tlog.HashSize)
		for i := range part {
			body = append(body, part[i][:]...)
		}
		answer, err := r.ask(ctx, http.MethodPost, "find", body, maxFound)
		if err != nil {
			return nil, err
		}
		found, err := protocol.DecodeFound(answer, len(part))
		if err != nil {
			return nil, damaged(r, -1, "the answer to find: %v", err)
		}
		indexes = append(indexes, found...)
	}
	q := newQuestion(leaves)
	if err := r.prove(ctx, c, q, slices.Compact(slices.Sorted(slices.Values(indexes)))); err != nil {
		return nil, err
	}
	return q.found, nil
}

// maxFound is the size of the largest answer: a head of 9 bytes for each leaf, and one for all.
const maxFound = 9 * (protocol.MaxFind + 1)

// prove fetches the records that the server named, in their order, and answers with what they
// have. Those that are newer than the checkpoint cannot be proved by it.
func (r *Remote) prove(ctx context.Context, c protocol.Checkpoint, q *question, indexes []int64) error {
	tree := r.tree(ctx, c)
	var bundle []translog.Entry
	for _, i := range indexes {
		if i < 0 || i >= c.Size {
			continue
		}
		first := i / tileWidth * tileWidth
		if len(bundle) == 0 || bundle[0].Index != first {
			var err error
			if bundle, err = r.bundle(ctx, tree, c, first); err != nil {
				return err
			}
		}
		f := r.fetch(ctx, bundle[i-first])
		if f.err != nil {
			return f.err
		}
		record, err := Decode(&f.entry)
		if err != nil {
			return damaged(r, i, "%v", err)
		}
		q.answer(record)
	}
	return nil
}
