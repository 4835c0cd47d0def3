package rpmsign

import (
	"errors"
	"fmt"
)

// Errors that callers decide by; all are wrapped with the operation and the path.
var (
	// ErrNotRPM means that the file is something else than an RPM package.
	ErrNotRPM = errors.New("not an rpm package")
	// ErrTruncated means that the package ends before it should.
	ErrTruncated = errors.New("truncated package")
	// ErrOversized means that bytes follow where the package should end.
	ErrOversized = errors.New("oversized package")
	// ErrMalformed means a header that rpm refuses to read.
	ErrMalformed = errors.New("malformed package")
	// ErrDigest means that a digest stated in the package does not hold.
	ErrDigest = errors.New("digest mismatch")
	// ErrSource means a source package, whose files are never installed and carry
	// no signatures.
	ErrSource = errors.New("source package: its files carry no signatures")
	// ErrWeakDigest means file digests that are not signed: too weak, or by a hash that
	// cannot be computed here, as the wrapped error says.
	ErrWeakDigest = errors.New("file digests that are not signed")
	// ErrMainHeader means file signatures in the main header that would have to
	// change: every digest and OpenPGP signature of the package covers it.
	ErrMainHeader = errors.New("its file signatures are in the main header, as rpm 4.13 wrote them, where they cannot be changed: build the package again")
	// ErrHeaderTooLarge means that rpm would refuse the signed package.
	ErrHeaderTooLarge = errors.New("signature header too large")
	// ErrHeaderLimit is an ErrHeaderTooLarge by more bytes than Options.MaxHeader.
	ErrHeaderLimit = fmt.Errorf("%w", ErrHeaderTooLarge)
	// ErrChanged means that the file is not the one that was read.
	ErrChanged = errors.New("package changed while it was being processed")
	// ErrOutside means a package that would be changed in place, although a symbolic
	// link leads to it out of the directory that was named (Options.Outside).
	ErrOutside = errors.New("a symbolic link leads to it out of the directory, where nothing is changed")
)

// errReread means that a package that was written does not read back as intended. Nothing
// about the package explains that: it is a bug, or storage that returns other bytes.
var errReread = errors.New("the new package does not read back as it was written: try another file system, and report this with the package")

// errRestored is wrapped by errors of writing after which the package is as it was.
var errRestored = errors.New("the package is as it was")

// errNotResumable means an output that was not made of the package, or in another way.
var errNotResumable = errors.New("it is not what an interrupted run made of this package")
