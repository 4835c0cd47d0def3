package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/translog"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Log is a log to read: [Dir] or [Remote].
type Log interface {
	// String names the log in messages.
	String() string
	// Checkpoint returns the newest signed checkpoint, which is not verified.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Walk returns the records that a checkpoint is for. Those that differ from what the
	// checkpoint signed end in a [translog.DamageError], perhaps only after the last one.
	Walk(ctx context.Context, c protocol.Checkpoint) iter.Seq2[translog.Entry, error]
	// Find returns the record of each leaf that the log has under a checkpoint, and nil for the
	// others. Each record is proved to be in the log, and to have the leaf.
	Find(ctx context.Context, c protocol.Checkpoint, leaves []tlog.Hash) ([]*Record, error)
}

// Current returns the newest checkpoint of a log, as it was signed and read. It must be signed
// by one of the keys. Another one is a [translog.DamageError].
func Current(ctx context.Context, log Log, keys []note.Verifier) ([]byte, protocol.Checkpoint, error) {
	signed, err := log.Checkpoint(ctx)
	if err != nil {
		return nil, protocol.Checkpoint{}, err
	}
	c, err := OpenCheckpoint(signed, keys)
	if err != nil {
		return nil, protocol.Checkpoint{}, &translog.DamageError{Path: log.String(), Record: -1, Reason: err.Error()}
	}
	return signed, c, nil
}

// OpenCheckpoint reads a checkpoint that one of the keys signed.
func OpenCheckpoint(signed []byte, keys []note.Verifier) (c protocol.Checkpoint, err error) {
	err = errors.New("there is no key of a log")
	for _, key := range keys {
		if c, err = protocol.OpenCheckpoint(signed, key); err == nil {
			return c, nil
		}
	}
	if len(keys) > 1 {
		err = fmt.Errorf("none of the %d keys of logs signed the checkpoint", len(keys))
	}
	return protocol.Checkpoint{}, err
}

// damaged returns an error about a record of a log. The index is -1 for none.
func damaged(log fmt.Stringer, record int64, format string, args ...any) error {
	return &translog.DamageError{Path: log.String(), Record: record, Reason: fmt.Sprintf(format, args...)}
}

// history compares the records of a log with an older checkpoint.
type history struct {
	log  Log
	old  protocol.Checkpoint
	tree translog.Tree
}

// begin refuses a checkpoint that cannot follow the older one.
func (h *history) begin(c protocol.Checkpoint) error {
	switch {
	case h.old.Origin != c.Origin:
		return fmt.Errorf("the older checkpoint is of the log %s, this is %s", strconv.Quote(h.old.Origin), strconv.Quote(c.Origin))
	case h.old.Size > c.Size:
		return damaged(h.log, c.Size, "it is missing: the log was cut; the older checkpoint is for %d records", h.old.Size)
	}
	return h.compare()
}

func (h *history) add(e *translog.Entry) error {
	h.tree.Add(tlog.RecordHash(e.Record), nil)
	return h.compare()
}

func (h *history) compare() error {
	if h.tree.Size() == h.old.Size && h.tree.Root() != h.old.Root {
		return damaged(h.log, -1, "the first %d records are not those of the older checkpoint: this is a fork of the log", h.old.Size)
	}
	return nil
}
