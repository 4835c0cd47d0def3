package signing

import "sync"

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of events. Listed, Attaching and Restoring begin a step and state its size.
// Planned, Checked, Attached and Restored report its progress.
const (
	Planned   EventKind = iota // an entry's record is in the plan
	Attached                   // an entry's values are attached
	Checked                    // an entry was verified
	Restored                   // an entry has its old values again
	Attaching                  // from now on the container is changed
	Restoring                  // attaching failed; the old values are restored from now on
	Warning                    // Message is a warning about Path, or about the run if Path is ""
	Listed                     // the entries of a container are known; none has been read
	Needed                     // Entries is a number of signatures that a key must make; it is negative if they were needed before, but are not made
	Made                       // Entries is a number of these signatures that it has made
)

// Event is progress, or a warning.
type Event struct {
	Kind    EventKind
	Path    string
	Message string
	Entries int64 // number of entries that this event is about; 0 if unknown
	Bytes   int64 // bytes of their content; 0 if unknown or not read
}

// Observer receives events. Several goroutines may use it. The zero value ignores events.
type Observer struct {
	mu   *sync.Mutex
	take func(Event)
}

// NewObserver returns an Observer that calls take with one event at a time. take must not
// call the Observer.
func NewObserver(take func(Event)) Observer { return Observer{new(sync.Mutex), take} }

// Tell reports an event.
func (o Observer) Tell(e Event) {
	if o.take == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.take(e)
}

// Warn reports a warning about path, or about the whole run if path is "".
func (o Observer) Warn(path, message string) {
	o.Tell(Event{Kind: Warning, Path: path, Message: message})
}
