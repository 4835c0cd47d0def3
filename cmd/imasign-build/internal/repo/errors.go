package repo

import (
	"errors"
	"fmt"
)

// Errors that callers decide by.
var (
	// ErrNoRepository means a directory without metadata that can be read.
	ErrNoRepository = errors.New("not an rpm repository")
	// ErrMetadata means metadata that cannot be read or kept.
	ErrMetadata = errors.New("unusable metadata")
	// ErrExists means that the path for the signed repository is taken.
	ErrExists = errors.New("exists already")
	// ErrAround is an ErrExists: the path is the repository, or a directory above it.
	ErrAround = fmt.Errorf("%w, and is part of the repository", ErrExists)
	// ErrBusy means that another run works on the same repository.
	ErrBusy = errors.New("another run is working on it: wait until it ends")
	// ErrPackages means that packages failed. The outcome of each has its error. The
	// repository is as it was, and the next run continues from there.
	ErrPackages = errors.New("packages could not be signed")
	// ErrUnlisted means packages that the metadata does not list, if they are refused.
	ErrUnlisted = errors.New("the metadata does not list packages that exist")
	// ErrMissing means listed packages that do not exist, if they are refused.
	ErrMissing = errors.New("the metadata lists packages that do not exist")
	// ErrSigners means a file without an OpenPGP certificate for repomd.xml.
	ErrSigners = errors.New("no OpenPGP certificate (public key)")
	// ErrChanged means that somebody else changed the repository again and again during the
	// run, or in its last moment.
	ErrChanged = errors.New("somebody else changed the repository")
)

// Warnings of a run.
const (
	// InPlace is about the whole run.
	InPlace = "the repository is changed in place: until the metadata is regenerated, packages differ from it, and clients fail"
	// SignatureLeftOut follows the name of a repomd.xml.asc.
	SignatureLeftOut = "belongs to the old metadata and is left out; clients with repo_gpgcheck=1 refuse the repository without it"
)
