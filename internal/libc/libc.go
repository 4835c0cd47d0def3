// Package libc calls the C library, so that a preloaded pseudo or fakeroot can answer.
// Both wrap C functions to pretend owners, modes, device nodes and xattrs to a process.
// Go's own system calls bypass these wrappers.
//
// All paths are absolute. Before a file is changed, it is recognised by device, inode,
// size and times. Descriptors that Go opened are never passed to the C library, because
// pseudo's table of descriptors does not have them, and C's descriptors are never passed
// to Go. Without a preload the functions do the same on the real file system. In builds
// without cgo (Linked is false) each fails with ErrAbsent.
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
	// ErrOther means that a path leads to another file than the wanted one, or to the
	// wanted file in another state.
	ErrOther = errors.New("not the wanted file")
)

// Stat is what the C library reports about a file. Type, mode, owner and rdev may be
// pretended; the other fields are real.
type Stat struct {
	Dev, Ino, Rdev, Nlink uint64
	Size, Mtime, Ctime    int64  // bytes; nanoseconds since 1970
	Mode                  uint32 // st_mode
	UID, GID              uint32
	errno                 int32
}

// Err returns why the Stat is not filled, nil if it is.
func (s *Stat) Err() error {
	if s.errno == 0 {
		return nil
	}
	return syscall.Errno(s.errno)
}

// How says what changes depend on.
type How struct {
	// AnyState accepts the wanted inode in any state.
	AnyState bool
	// Compare reads each xattr before it is set. If the value is not Old, the change
	// fails with EEXIST or ENODATA.
	Compare bool
	// SkipOther reads each xattr before it is set or removed. If the value is not Old,
	// the change is skipped.
	SkipOther bool
	// KeepOwner is for fakeroot. A file that fakeroot has no record of belongs to root;
	// when it gets its first xattr, it belongs to the builder. KeepOwner restores the
	// owner.
	KeepOwner bool
}

// Change is one extended attribute to set.
type Change struct {
	Name  string
	Value []byte // nil removes the attribute, without an error if it does not exist
	Old   []byte // the value before, nil if it does not exist: see How
	Flags int    // of setxattr(2); pseudo supports none
}

// The operations at which a call on one file can fail.
const (
	OpOpen   = "open"
	OpStat   = "stat"
	OpOwner  = "chown" // to restore the owner
	OpList   = "list"  // the names of the xattrs
	OpGet    = "get"   // the value of an xattr
	OpSet    = "set"
	OpRemove = "remove"
)

// Error says at which operation a call on one file failed, and why.
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
