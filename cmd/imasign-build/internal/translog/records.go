package translog

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// slack is how much out of order the times of records may be: the clock may be set back.
const slack = 10 * time.Minute

// Records returns the records from some time on, the oldest first. It reads the newest part of
// the log only. It ends after the first error.
func (l *Log) Records(ctx context.Context, from time.Time) iter.Seq2[protocol.Record, error] {
	return func(yield func(protocol.Record, error) bool) {
		size := l.Size()
		first, err := l.since(ctx, from.Add(-slack), size)
		for i := first; err == nil && i < size; i++ {
			var r *protocol.Record
			if r, err = l.decoded(ctx, i); err == nil && r.Time >= from.Unix() && !yield(*r, nil) {
				return
			}
		}
		if err != nil {
			yield(protocol.Record{}, err)
		}
	}
}

// since returns the index of the first record after the last one that is older than a time.
func (l *Log) since(ctx context.Context, from time.Time, size int64) (int64, error) {
	for i := size; i > 0; i-- {
		r, err := l.decoded(ctx, i-1)
		if err != nil {
			return 0, err
		}
		if r.Time < from.Unix() {
			return i, nil
		}
	}
	return 0, nil
}

func (l *Log) decoded(ctx context.Context, i int64) (*protocol.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	body, err := l.record(i)
	if err != nil {
		return nil, err
	}
	r, err := protocol.DecodeRecord(body)
	if err != nil {
		return nil, fmt.Errorf("record %d of the log in %s: %w", i, l.dir, err)
	}
	return r, nil
}

// record reads the body of a record, without its details.
func (l *Log) record(i int64) ([]byte, error) {
	f, offset, err := l.header(i)
	if err != nil {
		return nil, err
	}
	body := make([]byte, len(f.body))
	if _, err := l.journal.ReadAt(body, offset+frameHeader); err != nil {
		return nil, fmt.Errorf("read record %d of the log: %w", i, err)
	}
	return body, nil
}

// header reads the header of a record's frame. Only the lengths of what it returns are right.
func (l *Log) header(i int64) (frame, int64, error) {
	offset, _, err := l.index.offset(i)
	if err != nil {
		return frame{}, 0, err
	}
	var raw [frameHeader]byte
	if _, err := l.journal.ReadAt(raw[:], offset); err != nil {
		return frame{}, 0, fmt.Errorf("read record %d of the log: %w", i, err)
	}
	f, _, err := parseHeader(raw[:], make([]byte, 0, 1024))
	if err == nil && (f.kind != kindRecord || f.index != i) {
		err = errFrame
	}
	if err != nil {
		return frame{}, 0, &DamageError{Path: l.journal.Name(), Record: i, Reason: "it was changed while the log was open"}
	}
	return f, offset, nil
}

// details reads the details of a record.
func (l *Log) details(i int64) ([]byte, error) {
	offset, _, err := l.index.offset(i)
	if err != nil {
		return nil, err
	}
	f, _, err := readFrame(io.NewSectionReader(l.journal, offset, 1<<62), nil)
	if err != nil || f.kind != kindRecord || f.index != i {
		return nil, &DamageError{Path: l.journal.Name(), Record: i, Reason: "it was changed while the log was open"}
	}
	return f.details, nil
}
