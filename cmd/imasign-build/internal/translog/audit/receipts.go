package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Receipts is a file of receipts of signing services, one JSON object in a line. It proves what
// it has without a log.
type Receipts string

// maxReceipt is the size in bytes of the longest line: it is more than a record, a proof and
// protocol.MaxDigests leaves take.
const maxReceipt = 1 << 20

// Receipt is a receipt that was verified.
type Receipt struct {
	Record

	// Origin is the name of the log that has the record.
	Origin string
}

// Read returns the receipts in a file. One that is not proved by the checkpoint of a log with one
// of the keys is a [translog.DamageError]; the others follow.
func (f Receipts) Read(ctx context.Context, keys []note.Verifier) iter.Seq2[*Receipt, error] {
	return func(yield func(*Receipt, error) bool) {
		file, err := input.Open(ctx, string(f))
		if err != nil {
			yield(nil, fmt.Errorf("read the receipts: %w", err))
			return
		}
		defer file.Close() //nolint:errcheck // opened for reading
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, maxReceipt)
		n := 0
		for lines.Scan() {
			n++
			r, err := parseReceipt(lines.Bytes(), keys)
			if err != nil {
				err = f.damaged(n, err)
			}
			if !yield(r, err) {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, f.damaged(n+1, errors.New("not a receipt: it is too long")))
		case err != nil:
			yield(nil, fmt.Errorf("read the receipts in %s: %w", string(f), err))
		}
	}
}

func (f Receipts) damaged(line int, err error) error {
	return &translog.DamageError{Path: fmt.Sprintf("%s: line %d", string(f), line), Record: -1, Reason: err.Error()}
}

// parseReceipt reads and verifies a line. The record is proved by the checkpoint, and the leaves
// by the record.
func parseReceipt(line []byte, keys []note.Verifier) (*Receipt, error) {
	in, err := report.ParseReceipt(line)
	if err != nil {
		return nil, errors.New("not a receipt")
	}
	proof, err := protocol.ParseProof(in.Proof)
	if err != nil {
		return nil, err
	}
	c, err := check(proof, in.Record, keys)
	if err != nil {
		return nil, err
	}
	record, err := protocol.DecodeRecord(in.Record)
	if err != nil {
		return nil, err
	}
	r := &Receipt{Record{proof.Index, *record, &protocol.Details{Leaves: in.Leaves}}, c.Origin}
	root := protocol.Root(r.Leaves())
	switch {
	case !r.Granted():
		return nil, errors.New("it is of a refusal")
	case len(in.Leaves)%tlog.HashSize != 0, !bytes.Equal(root[:], record.Root), uint64(len(r.Leaves())) != record.Digests:
		return nil, errors.New("its leaves are not those of its record")
	}
	return r, nil
}

// check verifies that the log with one of the keys has a record.
func check(proof *protocol.Proof, record []byte, keys []note.Verifier) (protocol.Checkpoint, error) {
	for _, key := range keys {
		if _, err := protocol.OpenCheckpoint(proof.Checkpoint, key); err == nil {
			return proof.Check(record, key)
		}
	}
	return OpenCheckpoint(proof.Checkpoint, keys)
}

// Find returns for each leaf the record of the receipt that has it, and nil for the others.
// The error is that of the first damaged receipt; what was found is valid nevertheless.
func (f Receipts) Find(ctx context.Context, keys []note.Verifier, leaves []tlog.Hash) ([]*Record, error) {
	q := newQuestion(leaves)
	var failed error
	for r, err := range f.Read(ctx, keys) {
		switch {
		case err == nil:
			q.answer(&r.Record)
		case failed == nil:
			failed = err
		}
	}
	return q.found, failed
}
