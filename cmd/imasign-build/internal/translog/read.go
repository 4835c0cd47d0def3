package translog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/protocol"
)

// Entry is a record of a log with its details, both as package protocol encodes them.
type Entry struct {
	Index           int64
	Record, Details []byte
}

// ReadCheckpoint returns the signed checkpoint in the directory of a log, which another process
// may have open. A missing one is a [DamageError].
func ReadCheckpoint(dir string) ([]byte, error) {
	path := filepath.Join(dir, checkpointName)
	signed, err := input.ReadRegular(path, maxCheckpoint)
	if errors.Is(err, os.ErrNotExist) && exists(filepath.Join(dir, journalName)) {
		return nil, &DamageError{Path: path, Record: -1, Reason: "the log has no checkpoint"}
	}
	if err != nil {
		return nil, fmt.Errorf("read the log in %s: %w", dir, err)
	}
	return signed, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// errEnough ends reading.
var errEnough = errors.New("enough")

// Read returns the records of the log in a directory that a checkpoint is for, in their order.
// Another process may have the log open. What the journal has is compared with the checkpoint
// after the last record, and with the checkpoints in the journal on the way: after a
// [DamageError], no record after the last good checkpoint can be relied on. The entries are
// the caller's.
func Read(ctx context.Context, dir string, c protocol.Checkpoint) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		journal, err := input.Regular(filepath.Join(dir, journalName))
		if err != nil {
			yield(Entry{}, fmt.Errorf("read the log in %s: %w", dir, err))
			return
		}
		defer journal.Close() //nolint:errcheck // opened for reading
		var x index
		if x.hashes, err = os.Open(filepath.Join(dir, hashesName)); err == nil {
			defer x.hashes.Close() //nolint:errcheck // opened for reading
		}
		s := &scan{journal: journal, origin: c.Origin, promised: c, index: compareIndex(&x)}
		s.visit = func(f *frame) error {
			if f.index >= c.Size {
				return errEnough // written after the checkpoint
			}
			if !yield(Entry{f.index, bytes.Clone(f.body), bytes.Clone(f.details)}, nil) {
				return errStopped
			}
			return nil
		}
		switch err := s.run(ctx); {
		case errors.Is(err, errStopped), errors.Is(err, errEnough):
		case err != nil:
			yield(Entry{}, err)
		}
	}
}

// errStopped means that nobody wants more records.
var errStopped = errors.New("stopped")

// Writer writes a copy of a log, which [Open] and [Read] take.
type Writer struct {
	w    io.Writer
	next int64
}

// NewWriter begins the journal of the log with this name.
func NewWriter(w io.Writer, origin string) (*Writer, error) {
	if err := checkOrigin(origin); err != nil {
		return nil, err
	}
	_, err := w.Write([]byte(start(origin)))
	return &Writer{w: w}, err
}

// Add writes the next record.
func (w *Writer) Add(e *Entry) error {
	f := frame{kind: kindRecord, index: w.next, body: e.Record, details: e.Details}
	w.next++
	return f.write(w.w)
}

// End writes the checkpoint of the records.
func (w *Writer) End(signed []byte) error {
	f := frame{kind: kindCheckpoint, index: w.next, body: signed}
	return f.write(w.w)
}

// Leaves returns the leaves in encoded details, 32 bytes each, without decoding the rest.
func Leaves(details []byte) ([]byte, error) { return leavesOf(details) }
