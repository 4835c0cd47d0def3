package translog

import (
	"errors"
	"fmt"
)

// Errors that callers act on.
var (
	// ErrDamaged: what the log has is not what it had when it was signed. See [DamageError].
	ErrDamaged = errors.New("the log is damaged")
	// ErrLocked: another process has the log open.
	ErrLocked = errors.New("another process has the log open")
	// ErrFull: the disk has no space for another record.
	ErrFull = errors.New("no space for another record in the log")
	// ErrFailed: the journal could not be written or synced. The log must be opened anew.
	ErrFailed = errors.New("the log cannot be written")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")
)

// DamageError says where a log is damaged. It is [ErrDamaged].
type DamageError struct {
	// Path is the damaged file.
	Path string
	// Record is the index of the first record that is wrong or missing, or -1 if no record is.
	Record int64
	// Reason says what is wrong.
	Reason string
}

// Error names the file, the record and the reason.
func (d *DamageError) Error() string {
	if d.Record < 0 {
		return fmt.Sprintf("%s: %s", d.Path, d.Reason)
	}
	return fmt.Sprintf("%s: record %d: %s", d.Path, d.Record, d.Reason)
}

// Is reports whether target is [ErrDamaged].
func (d *DamageError) Is(target error) bool { return target == ErrDamaged }
