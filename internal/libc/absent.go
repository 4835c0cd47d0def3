//go:build !cgo || !linux

package libc

// Linked reports whether this build calls the C library.
const Linked = false

// ClosedAtStart always reports false: the Go runtime opens /dev/null in place of a closed
// stream before any Go code runs.
func ClosedAtStart(int) bool { return false }

// Lstat always fails.
func Lstat(string) (Stat, error) { return Stat{}, ErrAbsent }

// LstatAll always fails.
func LstatAll(string, []string) ([]Stat, error) { return nil, ErrAbsent }

// Xattrs always fails.
func Xattrs(string, *Stat, string) (map[string][]byte, Stat, error) { return nil, Stat{}, ErrAbsent }

// ChangeXattrs always fails.
func ChangeXattrs(string, *Stat, How, []Change) (int, Stat, error) { return 0, Stat{}, ErrAbsent }

// Create always fails.
func Create(string, uint32) error { return ErrAbsent }

// Chown always fails.
func Chown(string, uint32, uint32) error { return ErrAbsent }

// Chmod always fails.
func Chmod(string, uint32) error { return ErrAbsent }

// Rename always fails.
func Rename(string, string) error { return ErrAbsent }

// Link always fails.
func Link(string, string) error { return ErrAbsent }

// Unlink always fails.
func Unlink(string) error { return ErrAbsent }
