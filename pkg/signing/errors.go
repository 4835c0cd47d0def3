package signing

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/quote"
)

// Errors that callers decide by.
var (
	// ErrOtherKey means that an entry carries a signature of another key.
	ErrOtherKey = errors.New("signed by another key")
	// ErrNotOurs means that an entry has a value that this program does not make and
	// that another key may have made: a signature of another form or version, a damaged
	// one, one of an unknown type.
	ErrNotOurs = errors.New("may have been made by another key")
	// ErrUnsigned means that an entry lacks an xattr altogether.
	ErrUnsigned = errors.New("unsigned")
	// ErrMismatch means that an entry is not what a manifest says it is.
	ErrMismatch = errors.New("does not match the manifest")
	// ErrOtherHash means that a value is over another hash algorithm than the digest
	// that the container states, so that neither proves the other.
	ErrOtherHash = errors.New("over another hash algorithm")
	// ErrUnsignedPlan means that a plan made without a key cannot be attached.
	ErrUnsignedPlan = errors.New("the plan was made without a key: there is nothing to attach")
	// ErrSpool means that a plan could not be kept in the system's directory for
	// temporary files.
	ErrSpool = errors.New("spool the plan")
)

// missingError is an ErrUnsigned.
type missingError struct{ xattr string }

func (e missingError) Error() string { return "no " + e.xattr }

func (missingError) Is(target error) bool { return target == ErrUnsigned }

// maxErrors bounds how many errors of a run are kept; the others are counted.
const maxErrors = 1000

// Errors are the failures of one run, each naming its file. errors.Is and
// errors.As look into all that were kept.
type Errors struct { //nolint:errname // several of them
	List  []error // in the container's order
	Total int     // List is cut at a thousand
}

// Error counts the errors and lists the first ten, a line each.
func (e *Errors) Error() string { return errors.Join(e.Lines()...).Error() }

// shown is how many errors Lines lists.
const shown = 10

// Lines returns what Error says, each line as an error of its own.
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

// Unwrap returns the errors that were kept.
func (e *Errors) Unwrap() []error { return e.List }

func (e *Errors) add(err error) {
	if e.Total++; len(e.List) < maxErrors {
		e.List = append(e.List, err)
	}
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
