// Package signing digests, signs and verifies the files of any container.
//
// A [Source] lists the entries of a container. [Engine.Plan] digests them on every core,
// chooses one name for each hard-linked inode, and asks every [Stage] for its value of
// each entry. Each distinct digest is signed once. The result is a [Plan], spooled in the
// container's order.
//
// Planning changes nothing. If a key fails, the disk is full or the context is cancelled,
// every input stays as it was. Only the container changes anything, when it attaches the
// plan ([Change]). A manifest is a plan in writing, so dry runs, offline signing and
// audits use the same code. [Engine.Verify] reads the same lists of entries.
//
// The containers (pkg/rootfs and others) define what an entry is and how values are
// attached. Package pkg/keystore opens keys. Package pkg/ima encodes values.
package signing

import (
	"context"
	"io"
	"io/fs"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Source lists a container's entries in the container's order, which is the same every
// time. If an error comes with an entry that has a path, it is about that entry and names
// the path, and the listing continues. An error with an entry without a path ends the
// listing.
//
// A Source that wraps another Source, for example to select entries, may change reasons
// and contents. It must not add, drop or reorder entries, because an entry is identified
// by its position.
type Source interface {
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is one file of a container.
type Entry struct {
	Index    int    // position in the container, from 0; set by the Engine
	Path     string // relative, slash-separated; raw bytes that need not be UTF-8
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64 // of the content, in bytes

	// Target is what a symbolic link points to, in raw bytes. If the container has to read
	// it, Target is "" and Readlink reads it; the Engine does so for a manifest. Readlink
	// may be called from any goroutine, and its errors name the file.
	Target   string
	Readlink func() (string, error) `cbor:"-"`
	// Device is the number of a device node, as manifest.Device returns it, or "" if it
	// is not known.
	Device string

	// Group identifies the inode of a file with several names (hard links). Every name of
	// the inode has the same Group, selected or not. It is "" for a file with one name.
	// The first name without a Reason is digested, and the values are attached to it, on
	// behalf of all names.
	Group string
	// Links is the number of names that the inode has, or 0 if that is not known.
	Links uint64
	// Same is the path of the name that the values are attached to instead of this one,
	// or "" if they are attached to this one. The Engine sets it, or a manifest states it.
	Same string

	// Reason says why nothing is attached to the entry, which then keeps its values. It is
	// "" for an entry to sign.
	Reason string
	// HashOnly asks for a digest without a signature in security.ima.
	HashOnly bool
	// Verity, unless nil, asks for a signature over the fs-verity digest with these
	// parameters in security.ima, in place of one over the content's digest. HashOnly has
	// precedence.
	Verity *manifest.Verity `cbor:",omitempty"`
	// Traits are what the container states about the file.
	Traits Traits

	// Digests are the digests that the container states or that the Engine computed. If
	// there are any, Open is not called, and Xattrs must be complete.
	Digests []Digest
	// Xattrs maps the names of the file's security.* xattrs to their values before the
	// run. They decide whether a new value is needed, are restored by an undo, and are
	// covered by EVM signatures.
	Xattrs map[string][]byte
	// Second has other values of some of these xattrs, which some programs read instead of
	// those in Xattrs. A nil value means that these programs see no such xattr. The values
	// are removed when those in Xattrs are replaced. Files that have other values of an
	// xattr that EVM covers get no EVM signature.
	Second map[string][]byte
	// Open opens the content. It may be called on any name of a group, any number of times
	// and from any goroutine. Reads fail if the file changes meanwhile. All errors name the
	// file, except Unselected, which states a Reason. Open is nil if digests are stated.
	Open func(ctx context.Context) (*File, error) `cbor:"-"`

	// DoubleUse, for containers that state digests, reports whether the content may be the
	// input of another kind of signature ([ErrDoubleUse]). It is called on any goroutine,
	// and only before a version 2 signature of the content is made or accepted. Errors name
	// the file. nil means that the container has excluded it.
	DoubleUse func() (bool, error) `cbor:"-"`

	// Token is how the container finds the file again. Only the container reads it. Plans
	// keep it.
	Token []byte

	// Origin is the container, for keys that want to know what they sign ([ima.ClaimSigner]). It
	// may be nil.
	Origin *ima.Origin `cbor:"-"`

	doubleUse bool // the content, as digested, may be a file_id or the input of an EVM digest
}

// checkDoubleUse returns [ErrDoubleUse] if a signature of form f over the content could also
// be used as the signature of another file.
func (e *Entry) checkDoubleUse(f ima.Form) error {
	if f != ima.ContentSignature() {
		return nil
	}
	twice, err := e.doubleUse, error(nil)
	if e.DoubleUse != nil {
		twice, err = e.DoubleUse()
	}
	if err == nil && twice {
		err = ErrDoubleUse
	}
	return err
}

// Traits are flags for what a container states about a file, without its content.
type Traits uint8

// The traits.
const (
	KnowsELF Traits = 1 << iota // the container states which files are ELF files
	ELF                         // this file is one
)

// Digest is a digest of an entry's content, or its fs-verity digest.
type Digest struct {
	Hash ima.HashID
	Sum  []byte
	// Verity are the parameters of an fs-verity digest, nil for a digest of the content.
	Verity *manifest.Verity `cbor:",omitempty"`
}

// File is the open content of an entry.
type File struct {
	io.ReadCloser
	// Xattrs are the security.* xattrs of the open file. They replace those of the entry.
	// If nil, the entry's are kept.
	Xattrs map[string][]byte
}

// Unselected is the error of an Open that found, by the content, that nothing must be
// attached to the file.
type Unselected struct{ Reason string } //nolint:errname // a Reason rather than a failure

// Error returns the reason.
func (u Unselected) Error() string { return u.Reason }

// digest returns the digest by h of the content or of fs-verity, or nil if there is none.
func (e *Entry) digest(h ima.HashID, over ima.Over) []byte {
	for _, d := range e.Digests {
		if d.Hash == h && d.over() == over {
			return d.Sum
		}
	}
	return nil
}

func (d *Digest) over() ima.Over {
	if d.Verity != nil {
		return ima.Verity
	}
	return ima.Content
}

// first returns the digest that a manifest states: the one that the first stage asked
// for, or the first that the container states.
func (e *Entry) first() Digest {
	if len(e.Digests) == 0 {
		return Digest{}
	}
	return e.Digests[0]
}

// leads reports whether values are attached to the entry itself, and not to another name
// of its inode.
func (e *Entry) leads() bool { return e.Same == "" }
