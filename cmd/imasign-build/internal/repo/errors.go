package repo

import (
	"errors"
	"fmt"
)

// Errors that callers decide by.
var (
	// ErrNoRepository means a directory without (readable) metadata.
	ErrNoRepository = errors.New("not an rpm repository")
	// ErrMetadata means metadata that cannot be read, or not be kept.
	ErrMetadata = errors.New("unusable metadata")
	// ErrExists means that the place for the signed repository is taken.
	ErrExists = errors.New("exists already")
	// ErrAround is an ErrExists: the place is the repository, or has it below it.
	ErrAround = fmt.Errorf("%w, and the repository is there", ErrExists)
	// ErrBusy means that another run works on the same repository.
	ErrBusy = errors.New("another run is at work here")
	// ErrPackages means that packages failed; each outcome has its error. The
	// repository is as it was, and the next run goes on from what is done.
	ErrPackages = errors.New("packages could not be signed")
	// ErrUnlisted means packages that the metadata do not list, where they are refused.
	ErrUnlisted = errors.New("the metadata do not list packages that are there")
	// ErrMissing means listed packages that are not there, where that is refused.
	ErrMissing = errors.New("the metadata list packages that are not there")
	// ErrSigners means a file without the certificate that repomd.xml is to be signed by.
	ErrSigners = errors.New("no OpenPGP certificate (public key)")
	// ErrChanged means that somebody else changed the repository during the run, again
	// and again, or in its last moment.
	ErrChanged = errors.New("the repository was changed by somebody else")
)

// What a run warns of.
const (
	// InPlace is about the whole run.
	InPlace = "the repository is changed in place: until the metadata are made anew, clients find packages that differ from them and fail"
	// SignatureLeftOut follows the name of a repomd.xml.asc.
	SignatureLeftOut = "is of the old metadata and left out; clients with repo_gpgcheck=1 refuse the repository without it"
)
