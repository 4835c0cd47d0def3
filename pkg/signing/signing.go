// Package signing is the one loop that digests and signs the files of any container.
//
// A Source lists entries. Engine.Plan digests them on every core, elects the name of each
// hard link that is attached to, and asks every Stage for its value of an entry: each
// distinct digest is signed once. The result is spooled, in the container's order, as a
// Plan. Nothing is changed until a container attaches the plan (Change): a failed key, a
// full disk or a cancelled context while planning leaves every input as it was. The
// manifest of a plan is the plan written down, so dry runs, offline signing and audit
// need no code of their own; Verify reads the same lists of entries.
//
// What an entry is and how values are attached is left to the containers (pkg/rootfs and
// others), how keys are opened to pkg/keystore, the bytes of values to pkg/ima.
package signing

import (
	"context"
	"io"
	"io/fs"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Source lists a container's entries in the container's order, which is the same every
// time. An error that comes with an entry is about that entry, whose path it names, and
// the listing goes on; an error with an entry that has no path ends it.
//
// A Source around a Source, for instance one that selects, may change reasons and
// contents. It must not add, drop or reorder entries: their place is their identity.
type Source interface {
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is one file of a container.
type Entry struct {
	Index    int    // position in the container, set by the Engine
	Path     string // raw bytes, relative, slash-separated
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64

	// Group is the container's name for the inode of a hard link, on each of its names,
	// whether they are selected or not; "" for files with one name. The first name
	// without a Reason is digested and attached to, and speaks for the others.
	Group string
	// Links is how many names the inode has, 0 where that is not known.
	Links uint64
	// Same is the path of the name that is attached to instead of this one; "" if this
	// one is. The Engine sets it, or a manifest states it.
	Same string

	// Reason says why nothing is attached to the entry, which keeps what it has; ""
	// for an entry that is to be signed.
	Reason string
	// HashOnly asks for a digest without a signature in security.ima.
	HashOnly bool
	// Traits are what the container states about the file.
	Traits Traits

	// Digests are those that the container states, or that the Engine computed. Where
	// there are any, Open is not called, and Xattrs has all that is known.
	Digests []Digest
	// Xattrs are the security.* xattrs as found. They tell whether anything needs to be
	// done, what an undo restores, and what an EVM signature covers.
	Xattrs map[string][]byte
	// Second is a security.ima that is removed when the one in Xattrs is replaced, and
	// which some programs read instead; nil for none.
	Second []byte
	// Open opens the content; any name of a group does, any number of times and from any
	// goroutine. Reads fail when the file changes meanwhile. All errors name the file,
	// but for Unselected, which is a Reason. nil where digests are stated.
	Open func(ctx context.Context) (*File, error) `cbor:"-"`

	// Token is the container's own: how to find the file again. It is kept in plans.
	Token []byte
}

// Traits are what a container states about a file without its content.
type Traits uint8

// The traits.
const (
	KnowsELF Traits = 1 << iota // the container tells ELF files from others
	ELF                         // it is one
)

// Digest is a digest of an entry's content.
type Digest struct {
	Hash ima.HashID
	Sum  []byte
}

// File is the open content of an entry, with what only an open file tells.
type File struct {
	io.ReadCloser
	Xattrs map[string][]byte // security.*, instead of the entry's; nil for those
}

// Unselected is returned by an Open that found, by the content, that nothing is to be
// attached.
type Unselected struct{ Reason string } //nolint:errname // a Reason rather than a failure

// Error returns the reason.
func (u Unselected) Error() string { return u.Reason }

// digest returns the digest of the content by h, nil if there is none.
func (e *Entry) digest(h ima.HashID) []byte {
	for _, d := range e.Digests {
		if d.Hash == h {
			return d.Sum
		}
	}
	return nil
}

// first returns the digest that a manifest states: that of the first stage, or the
// container's own.
func (e *Entry) first() Digest {
	if len(e.Digests) == 0 {
		return Digest{}
	}
	return e.Digests[0]
}

// leads reports whether the entry is the one of its names that is attached to.
func (e *Entry) leads() bool { return e.Same == "" }
