package signing

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/internal/quote"
)

// Errors that callers act on. Match them with [errors.Is].
var (
	// ErrOtherKey means that an entry has a signature of another key.
	ErrOtherKey = errors.New("signed by another key")
	// ErrNotOurs means that an entry has a value that this program does not make and that
	// another key may have made: a signature of another form or version, a damaged value,
	// or a value of an unknown type.
	ErrNotOurs = errors.New("may have been made by another key")
	// ErrSignedV3 comes with [ima.ErrPurpose]: a value is a version 3 signature by the key that
	// signs, which does not say what it is for and is to make one of version 2.
	ErrSignedV3 = errors.New("is a version 3 signature by this key, so the key is not for version 2")
	// ErrUnsigned means that an entry does not have the xattr.
	ErrUnsigned = errors.New("unsigned")
	// ErrMismatch means that an entry differs from its line in a manifest.
	ErrMismatch = errors.New("does not match the manifest")
	// ErrOtherHash means that a value and the digest that the container states are of
	// different hash algorithms, so they cannot be compared.
	ErrOtherHash = errors.New("over another hash algorithm")
	// ErrNoStage means that a manifest states a value of an xattr for which the Engine has
	// no stage.
	ErrNoStage = errors.New("the manifest states a value that cannot be verified")
	// ErrDoubleUse means that a file's content may be what signatures of another kind are
	// over, a file_id or the input of an EVM digest. A version 2 signature of the content
	// could then be used as such a signature of another file.
	ErrDoubleUse = errors.New("its content may be the input of a version 3 or EVM signature, so a version 2 signature of it could pass for the signature of another file")
	// ErrUnsignedPlan means that a plan cannot be attached because it was made without a
	// key.
	ErrUnsignedPlan = errors.New("the plan was made without a key: there is nothing to attach")
	// ErrSpool means that a plan could not be written to the system's directory for
	// temporary files.
	ErrSpool = errors.New("spool the plan")
)

// missingError says that an xattr is missing. It matches ErrUnsigned.
type missingError struct{ xattr string }

func (e missingError) Error() string { return "no " + e.xattr }

func (missingError) Is(target error) bool { return target == ErrUnsigned }

// maxErrors limits how many errors of a run are kept. The others are only counted.
const maxErrors = 1000

// Errors are the failures of one run. Each error names its file. [errors.Is] and
// [errors.As] examine all errors in List.
type Errors struct { //nolint:errname // several of them
	List  []error // in the container's order, at most 1000
	Total int     // the number of all errors, those that are not in List included
}

// Error returns the number of errors and the first ten errors, one per line.
func (e *Errors) Error() string { return errors.Join(e.Lines()...).Error() }

// shown is how many errors Lines lists.
const shown = 10

// Lines returns the lines of Error, each as an error.
func (e *Errors) Lines() []error {
	lines := []error{quote.Heading(fmt.Errorf("%d files failed", e.Total))}
	for _, err := range e.List[:min(shown, len(e.List))] {
		lines = append(lines, fmt.Errorf("  %w", err))
	}
	if more := e.Total - len(lines) + 1; more > 0 {
		lines = append(lines, fmt.Errorf("  … and %d more", more))
	}
	return lines
}

// Unwrap returns List.
func (e *Errors) Unwrap() []error { return e.List }

func (e *Errors) add(err error) {
	if e.Total++; len(e.List) < maxErrors {
		e.List = append(e.List, err)
	}
}

// drop removes the errors that only repeat cause, which workers that it interrupted return.
func (e *Errors) drop(cause error) {
	before := len(e.List)
	e.List = slices.DeleteFunc(e.List, func(one error) bool { return errors.Is(one, cause) })
	e.Total -= before - len(e.List)
}

// err returns nil for no error, the error itself for one, and e for more.
func (e *Errors) err() error {
	switch e.Total {
	case 0:
		return nil
	case 1:
		return e.List[0]
	}
	return e
}
