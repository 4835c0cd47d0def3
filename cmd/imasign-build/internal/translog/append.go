package translog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/protocol"
)

// waiter is a record that is to be written.
type waiter struct {
	frame frame
	done  chan struct{} // closed when state or err is set
	state *state
	err   error
}

// Append adds a record and its details, both as package protocol encodes them, and returns once
// they are synced. The proof (C2SP tlog-proof, see [protocol.ParseProof]) shows that the log
// has the record. Records that arrive while others are being synced are written together.
//
// Reserve space first: otherwise Append may take what was reserved for others. If ctx ends,
// the record may be written nevertheless. Errors may wrap [ErrFull], after which other records
// may still fit, or [ErrFailed] or [ErrClosed].
func (l *Log) Append(ctx context.Context, record, details []byte) (proof string, err error) {
	if err := checkEntry(record, details); err != nil {
		return "", fmt.Errorf("append to the log: %w", err)
	}
	w := &waiter{frame: frame{kind: kindRecord, body: record, details: details}, done: make(chan struct{})}
	if err := l.enqueue(w); err != nil {
		return "", err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return "", fmt.Errorf("append to the log: %w", context.Cause(ctx))
	}
	if w.err != nil {
		return "", w.err
	}
	return l.prove(w.frame.index, w.state)
}

// checkEntry refuses a record that would make every audit fail: it could never be removed again.
func checkEntry(record, details []byte) error {
	if len(details) > protocol.MaxDetails {
		return fmt.Errorf("details of %d bytes, at most %d are allowed", len(details), protocol.MaxDetails)
	}
	r, err := protocol.DecodeRecord(record)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(details); !bytes.Equal(sum[:], r.Details) {
		return errors.New("the record is of other details")
	}
	_, err = leavesOf(details)
	return err
}

// prove returns the proof of a record in a state.
func (l *Log) prove(record int64, s *state) (string, error) {
	hashes, err := tlog.ProveRecord(s.size, record, l.index)
	if err != nil {
		return "", fmt.Errorf("prove record %d of the log: %w", record, err)
	}
	p := protocol.Proof{Index: record, Hashes: hashes, Checkpoint: s.signed}
	return p.Text(), nil
}

func (l *Log) enqueue(w *waiter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	l.waiting = append(l.waiting, w)
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
	return nil
}

// run writes records until the log is closed.
func (l *Log) run() {
	defer close(l.ended)
	var broken error
	for open := true; open; {
		_, open = <-l.wake
		l.mu.Lock()
		group := l.waiting
		l.waiting = nil
		l.mu.Unlock()
		if len(group) == 0 {
			continue
		}
		err := broken
		if err == nil {
			err = l.commit(group)
		}
		if err != nil && !errors.Is(err, ErrFull) {
			broken = err
			l.fail(err)
		}
		for _, w := range group {
			w.state, w.err = l.state.Load(), err
			close(w.done)
		}
	}
}

// fail refuses every later record. After a failed sync, nobody knows what the disk has.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w since an earlier failure; restart the service: %w", ErrFailed, err)
	}
}

// commit writes and syncs a group of records.
func (l *Log) commit(group []*waiter) error {
	began := time.Now()
	if err := l.space.ensure(group); err != nil {
		return err
	}
	var next mark
	next.set(&l.mark)
	signed, err := l.write(group, &next)
	if err == nil {
		err = l.sync(signed)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	l.mark.set(&next)
	l.space.move(&l.mark)
	l.state.Store(&state{size: next.tree.size, leaves: next.leaves, end: next.offset, signed: signed})
	if l.options.Synced != nil {
		l.options.Synced(len(group), time.Since(began))
	}
	return nil
}

// write writes the frames of a group and its checkpoint, which it returns, and moves next behind
// them.
func (l *Log) write(group []*waiter, next *mark) ([]byte, error) {
	w := bufio.NewWriterSize(io.NewOffsetWriter(l.journal, next.offset), readSize)
	var r rows
	for _, one := range group {
		one.frame.index = next.tree.size
		if err := errors.Join(r.add(next, &one.frame), one.frame.write(w)); err != nil {
			return nil, err
		}
	}
	signed, err := sign(l.key, &next.tree)
	if err != nil {
		return nil, err
	}
	f := frame{kind: kindCheckpoint, index: next.tree.size, body: signed}
	next.offset += f.size()
	return signed, errors.Join(f.write(w), w.Flush(), l.index.write(&l.mark, &r))
}

// sync syncs the journal, and then replaces the file checkpoint. Both are on the way to the
// disk at the same time. The file is not the truth, so that the disk has no space for it is
// not an error.
func (l *Log) sync(signed []byte) error {
	var both errgroup.Group
	var stale error
	both.Go(func() error {
		if stale = l.writeCheckpoint(signed, false); noSpace(stale) {
			return nil
		}
		return stale
	})
	both.Go(func() error { return unix.Fdatasync(int(l.journal.Fd())) })
	if err := both.Wait(); err != nil || stale != nil {
		return err
	}
	return l.renameCheckpoint()
}

// writeCheckpoint writes and syncs the file checkpoint under a name of its own. The name is
// always the same, unlike that of package atomicfile, so that a killed process leaves one file.
func (l *Log) writeCheckpoint(signed []byte, rename bool) error {
	f, err := os.OpenFile(l.newCheckpoint(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(signed)
	if err == nil {
		err = unix.Fdatasync(int(f.Fd()))
	}
	if err = errors.Join(err, f.Close()); err != nil || !rename {
		return err
	}
	return l.renameCheckpoint()
}

func (l *Log) renameCheckpoint() error {
	return os.Rename(l.newCheckpoint(), filepath.Join(l.dir, checkpointName))
}

func (l *Log) newCheckpoint() string { return filepath.Join(l.dir, checkpointName+".new") }
