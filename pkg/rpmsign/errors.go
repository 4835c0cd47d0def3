package rpmsign

import (
	"errors"
	"fmt"
)

// Errors that callers decide by. All are wrapped with the operation and the path.
var (
	// ErrNotRPM means that the file is not an RPM package.
	ErrNotRPM = errors.New("not an rpm package")
	// ErrTruncated means that the package ends before it should.
	ErrTruncated = errors.New("truncated package")
	// ErrOversized means that bytes follow where the package should end.
	ErrOversized = errors.New("oversized package")
	// ErrMalformed means a header that rpm refuses to read.
	ErrMalformed = errors.New("malformed package")
	// ErrDigest means that the package does not match a digest that it states.
	ErrDigest = errors.New("digest mismatch")
	// ErrSource means a source package. Its files are never installed and carry no
	// signatures.
	ErrSource = errors.New("source package: its files carry no signatures")
	// ErrWeakDigest means file digests that are not signed: they are too weak, or this
	// program cannot compute their hash. The wrapped error says which.
	ErrWeakDigest = errors.New("file digests that are not signed")
	// ErrMainHeader means file signatures in the main header that would have to change. Every
	// digest and OpenPGP signature of the package covers them.
	ErrMainHeader = errors.New("its file signatures are in the main header, where rpm 4.13 wrote them and where they cannot be changed: build the package again")
	// ErrHeaderTooLarge means that rpm would refuse the signed package.
	ErrHeaderTooLarge = errors.New("signature header too large")
	// ErrHeaderLimit is an ErrHeaderTooLarge because of Options.MaxHeader.
	ErrHeaderLimit = fmt.Errorf("%w", ErrHeaderTooLarge)
	// ErrChanged means that the file is no longer the one that was read.
	ErrChanged = errors.New("package changed while it was being processed")
	// ErrOutside means a package that would be changed in place, although a symbolic link
	// leads to it out of the named paths (Options.Outside).
	ErrOutside = errors.New("a symbolic link leads to it out of the directory, and nothing is changed there")
)

// errReread means that a new package does not read back as it was written: a bug, or storage
// that returns other bytes.
var errReread = errors.New("the new package does not read back as it was written: try another file system, and report this error with the package")

// errRestored is wrapped by errors of writing that left the package as it was.
var errRestored = errors.New("the package is as it was")

// errNotResumable means an output that no interrupted run made from the package.
var errNotResumable = errors.New("no interrupted run made it from this package")
