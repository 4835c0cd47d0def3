// Package signing is the one loop that digests and signs what any container
// holds.
//
// A Source lists entries. Engine.Plan digests them on every core, signs each
// distinct digest once, and spools the result, in the container's order, into a
// Plan. Nothing is changed until a Sink attaches the plan: a failed key, a full
// disk or a cancelled context while planning leaves every input as it was. The
// manifest of a plan is the plan written down, so that dry runs, offline signing
// and audit need no path of their own; Verify reads the same entry lists.
//
// What an entry is and how values are attached is left to the containers
// (pkg/rootfs and others), how keys are opened to pkg/keystore, the bytes of the
// values to pkg/ima.
package signing

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Source lists a container's entries in the container's order, which is the same
// every time. An error that comes with an entry is that entry's (its path names
// it) and the listing goes on; an error with an entry that has no path ends it.
type Source interface {
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

// Sink attaches what a plan says. It attaches everything or, after an error or
// when ctx is cancelled, restores what was there before and says so.
type Sink interface {
	Attach(ctx context.Context, plan *Plan) error
}

// Entry is one file of a container.
type Entry struct {
	Index    int    // position in the container; set by the loop
	Path     string // raw bytes, relative, slash-separated
	Mode     fs.FileMode
	UID, GID uint32
	Size     int64
	// Xattrs are the security.* xattrs as found: what tells that nothing needs to
	// be done, what an undo restores, what an EVM signature covers.
	Xattrs map[string][]byte
	// Second is a security.ima that goes when Xattrs' is replaced, and which some
	// programs take in its place; nil for none.
	Second []byte
	// Same names the hard-link group: the path of its first entry without a Reason,
	// on that entry as on the others. Only the first is digested and attached to.
	Same string

	// Digest is stated by the container, with its algorithm in Hash, or nil where
	// the loop shall compute it from Open. Where it is stated there is no content to
	// open: Open is never called, and Xattrs holds all that is known.
	Hash   ima.HashID
	Digest []byte
	// Open opens the content and may complete the entry with what only an open
	// file tells: Xattrs, or a Reason, in which case no content is returned. It is
	// called once at most, from any goroutine. Reads of the content fail when the
	// file changes under them. The errors of Open and of reading name the file.
	Open func(ctx context.Context, e *Entry) (io.ReadCloser, error)

	// HashOnly asks for a digest-ng value instead of a signature.
	HashOnly bool
	// Reason says why the entry stays unsigned; "" for one to be signed.
	Reason string
	// Token is the container's own, kept with the plan: how to know the file again.
	Token []byte
}

// first reports whether the entry is the one of its hard-link group that is
// digested and attached to.
func (e *Entry) first() bool { return e.Same == "" || e.Same == e.Path }

// Status is what becomes of an entry.
type Status uint8

// The statuses of a Record.
const (
	Skipped   Status = iota // unsigned, for the entry's Reason
	Signed                  // gets a new signature
	Hashed                  // gets a new digest-ng value
	Unchanged               // has the value it should have already
	Stripped                // loses the values it has
)

func (s Status) String() string {
	return [...]string{"skipped", "signed", "hashed", "unchanged", "stripped"}[s]
}

// Record is one line of a plan: an entry and what is attached to it.
type Record struct {
	Entry
	Status Status
	// Replaced says what a new value takes the place of.
	Replaced Replaced
	// Values are the xattrs by name that the entry has once the plan is attached;
	// nil values are removed. They are missing from a dry run without a key.
	Values map[string][]byte

	offset int64 // in the spool
}

// Pending reports whether attaching the record changes anything. Other names of a
// hard link never do: their inode is attached to through the first.
func (r *Record) Pending() bool {
	return (r.Status == Signed || r.Status == Hashed || r.Status == Stripped) && r.first()
}

// EventKind says what an Event tells.
type EventKind uint8

// The kinds of events.
const (
	Planned   EventKind = iota // an entry's record is in the plan
	Attached                   // an entry's values are attached
	Checked                    // an entry was verified
	Restored                   // an entry got back what it had before
	Attaching                  // from here on the container is being changed; Entries are to come
	Restoring                  // attaching failed, what was there is being restored
	Warning                    // Message, about Path unless that is ""
)

// Event is progress, or a warning.
type Event struct {
	Kind    EventKind
	Path    string
	Message string
	Entries int64 // how many entries this event stands for
	Bytes   int64 // content digested for them
}

// Observer takes events, from any goroutine, one at a time. The zero value
// ignores them.
type Observer struct {
	mu   *sync.Mutex
	take func(Event)
}

// NewObserver returns an Observer that calls take serially; take must not call
// the Observer.
func NewObserver(take func(Event)) Observer { return Observer{new(sync.Mutex), take} }

// Tell hands over an event.
func (o Observer) Tell(e Event) {
	if o.take == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.take(e)
}

// Warn sends a warning about path, "" for the whole run.
func (o Observer) Warn(path, message string) {
	o.Tell(Event{Kind: Warning, Path: path, Message: message})
}
