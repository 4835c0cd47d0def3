package signd

import (
	"context"
	"crypto/sha256"
	"sync"
)

// maxReaders is how many answers of the log one client certificate gets at a time. Each is in memory until
// the client has read it, and has up to 2 MiB, or with a bundle of large records 16 MiB.
const maxReaders = 8

// readers lets clients read the log. Those of one certificate that are too many wait.
type readers struct {
	mu   sync.Mutex
	each map[[sha256.Size]byte]*reading
}

// reading is what one certificate reads.
type reading struct {
	places chan struct{}
	users  int // that have a place, or wait for one
}

func newReaders() *readers { return &readers{each: map[[sha256.Size]byte]*reading{}} }

// enter waits for a place, until ctx ends.
func (r *readers) enter(ctx context.Context, spki [sha256.Size]byte) (leave func(), ok bool) {
	r.mu.Lock()
	one := r.each[spki]
	if one == nil {
		one = &reading{places: make(chan struct{}, maxReaders)}
		r.each[spki] = one
	}
	one.users++
	r.mu.Unlock()
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(r.each, spki)
		}
	}
	select {
	case one.places <- struct{}{}:
		return func() { <-one.places; forget() }, true
	case <-ctx.Done():
		forget()
		return nil, false
	}
}
