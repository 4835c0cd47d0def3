// Package libc calls the C library where a preloaded pseudo or fakeroot has to
// answer: both pretend owners, modes, device nodes and xattrs to a process by
// wrapping C functions, which Go's own system calls go around.
//
// Everything is by absolute path, and what is changed is known again by device,
// inode, size and times before it is touched. Descriptors that Go opened are never
// handed to the C library (pseudo's table of descriptors does not know them), nor
// the other way round. Without a preload the functions do the same, on the real
// file system; in builds without cgo (Linked is false) each fails with ErrAbsent.
//
// Which files matter, and containment, are left to internal/tree.
package libc

import (
	"errors"
	"syscall"
)

var (
	// ErrAbsent means that this build does not call the C library.
	ErrAbsent = errors.New("the program was built without cgo and cannot call the C library")
	// ErrOther means that a path leads to another file than the wanted one, or to
	// the same in another state.
	ErrOther = errors.New("not the wanted file")
)

// Stat is what the C library says of a file: type, mode, owner and rdev may be
// pretended, the rest is not.
type Stat struct {
	Dev, Ino, Rdev, Nlink uint64
	Size, Mtime, Ctime    int64  // bytes; nanoseconds since 1970
	Mode                  uint32 // st_mode
	UID, GID              uint32
	errno                 int32
}

// Err returns why there is no more in the Stat, nil if there is.
func (s *Stat) Err() error {
	if s.errno == 0 {
		return nil
	}
	return syscall.Errno(s.errno)
}

// How says what changes depend on.
type How struct {
	// AnyState takes the same inode in whatever state for the wanted file.
	AnyState bool
	// Compare reads each xattr before it is set: one that is not Old fails the
	// change with EEXIST or ENODATA.
	Compare bool
	// SkipOther reads each xattr before it is set or removed, and leaves out one that
	// is not Old.
	SkipOther bool
	// KeepOwner is for fakeroot: a file of which it knows nothing yet belongs to
	// root, and with its first xattr to the builder. It gets its owner back.
	KeepOwner bool
}

// Change is one extended attribute to set.
type Change struct {
	Name  string
	Value []byte // nil removes it, which is no error when it is not there
	Old   []byte // what it is before, nil for not there: see How
	Flags int    // of setxattr(2); pseudo knows none
}

// What a call on one file can fail at.
const (
	OpOpen   = "open"
	OpStat   = "stat"
	OpOwner  = "chown" // to the owner that it had
	OpList   = "list"  // the names of its xattrs
	OpGet    = "get"   // the value of one, and so on
	OpSet    = "set"
	OpRemove = "remove"
)

// Error is what a call on one file failed at.
type Error struct {
	Op    string // one of the above
	Xattr string // for OpGet, OpSet and OpRemove
	Size  int    // of the value, for OpSet
	Err   error  // a syscall.Errno, or ErrOther
}

func (e *Error) Error() string {
	if e.Xattr == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + e.Xattr + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
