package signing

import "sync"

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
