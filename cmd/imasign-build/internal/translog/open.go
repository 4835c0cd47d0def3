package translog

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"
)

// Log is an open log. Its methods are for any number of goroutines.
type Log struct {
	dir     string
	key     note.Signer
	options Options
	journal *os.File
	index   *index
	space   space
	find    chan struct{} // has one element while a search runs

	state atomic.Pointer[state]

	mu      sync.Mutex
	waiting []*waiter
	failed  error // why nothing can be appended any more
	wake    chan struct{}
	ended   chan struct{}

	mark mark // the end of the log; only for the goroutine that writes
}

// state is what readers see: everything up to the last sync.
type state struct {
	size, leaves, end int64
	signed            []byte // the checkpoint
}

// Options are optional.
type Options struct {
	// Synced is called after each group of records was written, with their number and how long
	// writing and syncing took.
	Synced func(records int, took time.Duration)
}

// Open opens a log for this process alone. It reads all of the journal. A group of records that
// was being written when the last process or machine ended, and was never acknowledged, is
// removed as far as it is damaged. Other damage is a [DamageError], and nothing is changed. If
// another process has the log open, it returns [ErrLocked].
func Open(ctx context.Context, dir string, key note.Signer, o Options) (*Log, error) {
	journal, err := os.OpenFile(filepath.Join(dir, journalName), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	l := &Log{
		dir: dir, key: key, options: o, journal: journal,
		find: make(chan struct{}, 1), wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(err, l.closeFiles())
	}
	go l.run()
	return l, nil
}

func (l *Log) closeFiles() error {
	err := l.journal.Close()
	if l.index != nil {
		err = errors.Join(err, l.index.close())
	}
	return err
}

// recover brings the files to the state after the last whole frame.
func (l *Log) recover(ctx context.Context) error {
	if err := unix.Flock(int(l.journal.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return fmt.Errorf("open the log in %s: %w", l.dir, err)
	}
	promised, err := readPromise(filepath.Join(l.dir, checkpointName), l.key)
	if err != nil {
		return err
	}
	if l.index, err = openIndex(l.dir); err != nil {
		return err
	}
	s := &scan{journal: l.journal, origin: l.key.Name(), promised: promised, index: compareIndex(l.index)}
	if err := s.run(ctx); err != nil {
		return err
	}
	if s.signed != nil {
		if _, err := openOwn(s.signed, l.key); err != nil {
			return s.damage(-1, "the last checkpoint in the journal: "+err.Error())
		}
	}
	return l.adopt(ctx, s)
}

// adopt takes over what a scan found.
func (l *Log) adopt(ctx context.Context, s *scan) error {
	if s.torn {
		if err := l.journal.Truncate(s.offset); err != nil {
			return fmt.Errorf("cut the unfinished end of the log: %w", err)
		}
	}
	if s.index.differs {
		if err := l.complete(ctx, &s.indexed, s.tree.size); err != nil {
			return fmt.Errorf("complete the index of the log: %w", err)
		}
	}
	if err := l.index.truncate(&s.mark); err != nil {
		return fmt.Errorf("complete the index of the log: %w", err)
	}
	l.mark.set(&s.mark)
	l.space.files = [spaceFiles]*os.File{l.journal, l.index.hashes, l.index.offsets, l.index.leaves}
	l.space.move(&l.mark)
	signed := s.signed
	if signed == nil || s.last.Size < s.tree.size {
		return l.seal()
	}
	return l.publish(signed, s.promised.Size == s.tree.size)
}

// complete writes the rows of the index from a mark to the record before end.
func (l *Log) complete(ctx context.Context, from *mark, end int64) error {
	const group = 1024
	r := bufio.NewReaderSize(io.NewSectionReader(l.journal, from.offset, 1<<62), readSize)
	var at, written mark
	at.set(from)
	written.set(from)
	var buffer []byte
	var rows rows
	for at.tree.size < end {
		f, again, err := readFrame(r, buffer)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		buffer = again
		if f.kind != kindRecord {
			at.offset += f.size()
			continue
		}
		if err := rows.add(&at, &f); err != nil {
			return err
		}
		if len(rows.hashes) >= group || at.tree.size == end {
			if err := l.index.write(&written, &rows); err != nil {
				return err
			}
			written.set(&at)
			rows.reset()
		}
	}
	return nil
}

// seal adds a checkpoint to a journal whose last records have none.
func (l *Log) seal() error {
	signed, err := sign(l.key, &l.mark.tree)
	if err != nil {
		return err
	}
	f := frame{kind: kindCheckpoint, index: l.mark.tree.size, body: signed}
	var encoded bytes.Buffer
	if err := f.write(&encoded); err != nil {
		return err
	}
	if _, err := l.journal.WriteAt(encoded.Bytes(), l.mark.offset); err != nil {
		return fmt.Errorf("write the checkpoint of the log: %w", err)
	}
	if err := unix.Fdatasync(int(l.journal.Fd())); err != nil {
		return fmt.Errorf("sync the log: %w", err)
	}
	l.mark.offset += f.size()
	l.space.move(&l.mark)
	return l.publish(signed, false)
}

// publish shows readers the end of the log. written says that the file checkpoint is right.
func (l *Log) publish(signed []byte, written bool) error {
	if !written {
		if err := l.writeCheckpoint(signed, true); err != nil && !noSpace(err) {
			return fmt.Errorf("write the checkpoint of the log: %w", err)
		}
	}
	l.state.Store(&state{size: l.mark.tree.size, leaves: l.mark.leaves, end: l.mark.offset, signed: signed})
	return nil
}

// Close writes what waits, and ends the use of the log.
func (l *Log) Close() error {
	l.mu.Lock()
	closing := !errors.Is(l.failed, ErrClosed)
	if closing {
		l.failed = errors.Join(ErrClosed, l.failed)
		close(l.wake)
	}
	l.mu.Unlock()
	<-l.ended
	if !closing {
		return nil
	}
	return l.closeFiles()
}

// Size returns the number of records that are synced.
func (l *Log) Size() int64 { return l.state.Load().size }

// Checkpoint returns the newest signed checkpoint.
func (l *Log) Checkpoint() []byte { return bytes.Clone(l.state.Load().signed) }
