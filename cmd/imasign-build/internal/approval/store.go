package approval

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Approver is a person who may approve manifests.
type Approver struct {
	Name string
	Key  *ima.PublicKey // the key of a certificate
}

// Options of Open.
type Options struct {
	// Approvers are the people whose approvals count. Each has a name and a key of their own.
	Approvers []Approver
	// Taken are keys that no approver may have, those of requesters and of the service: the
	// SHA-256 of their SubjectPublicKeyInfo, and whose they are.
	Taken map[[sha256.Size]byte]string
	// Warn, unless nil, is told why a file does not count, once for each content of the file.
	Warn func(string)
}

// Store reads a directory of approvals. It is safe for concurrent use.
type Store struct {
	dir     string
	options Options
	ctx     context.Context //nolint:containedctx // of what it reads in the background
	stop    context.CancelFunc
	current atomic.Pointer[[]approved]

	mu      sync.Mutex
	running *reading // nil if nobody reads the directory
	read    time.Time

	files map[string]*file // by name; of the goroutine that reads
}

// approved is the hash of a manifest with the approvals of it. The manifest is nil if it was not
// read, or does not count.
type approved struct {
	sum      [sha256.Size]byte
	manifest *Manifest
	votes    []*vote
}

// reading is one look at the directory.
type reading struct {
	looked chan struct{} // closed when files that are gone have stopped to count
	done   chan struct{} // closed when new ones count
}

// Time limits of reading the directory.
const (
	// fresh is how long nobody looks again.
	fresh = 500 * time.Millisecond
	// patience is how long a request waits for new manifests, of which a large one takes seconds.
	patience = 2 * time.Second
)

// Open reads a directory of approvals. Files that do not count are no error: [Options.Warn] is
// told. Errors are those of reading the directory, or say what is wrong with the approvers.
// The caller closes the store.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	s := &Store{dir: dir, options: o, files: map[string]*file{}}
	s.current.Store(new([]approved))
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.scan(ctx, func() {}); err != nil {
		s.stop()
		return nil, fmt.Errorf("read approvals: %w", err)
	}
	s.read = time.Now()
	return s, nil
}

// Close ends reading in the background. What was read can still be used.
func (s *Store) Close() { s.stop() }

func (o *Options) check() error {
	names, keys := map[string]bool{}, map[[sha256.Size]byte]string{}
	for _, a := range o.Approvers {
		switch {
		case a.Name == "" || names[a.Name]:
			return fmt.Errorf("approver %q: the name is empty or repeated", a.Name)
		case a.Key == nil || a.Key.Certificate() == nil:
			return fmt.Errorf("approver %q: no certificate", a.Name)
		}
		spki, err := SPKI(a.Key)
		if err != nil {
			return fmt.Errorf("approver %q: %w", a.Name, err)
		}
		if other := keys[spki]; other != "" {
			return fmt.Errorf("approver %q: the key is that of approver %q, too: m of n people have n keys", a.Name, other)
		}
		if other := o.Taken[spki]; other != "" {
			return fmt.Errorf("approver %q: %w: the key is also that of %s", a.Name, ErrTaken, other)
		}
		names[a.Name], keys[spki] = true, a.Name
	}
	return nil
}

// ErrTaken means an approver with the key of a requester or of the service.
var ErrTaken = errors.New("an approver needs a key of their own")

// approver returns the approver with this name, or nil.
func (s *Store) approver(name string) *Approver {
	for i := range s.options.Approvers {
		if a := &s.options.Approvers[i]; a.Name == name {
			return a
		}
	}
	return nil
}

// Has reports whether there is an approver of this name.
func (s *Store) Has(name string) bool { return s.approver(name) != nil }

// refresh looks at the directory, unless somebody just did. It returns when files that are gone
// have stopped to count. Settle waits for new ones.
func (s *Store) refresh(ctx context.Context) {
	s.mu.Lock()
	if s.running == nil && time.Since(s.read) >= fresh {
		s.running = &reading{make(chan struct{}), make(chan struct{})}
		go s.background(s.running)
	}
	running := s.running
	s.mu.Unlock()
	if running == nil {
		return
	}
	select {
	case <-running.looked:
	case <-ctx.Done():
	}
}

// Settle waits until new files count, for two seconds at most: a million lines take longer. It
// reports whether there was something to wait for.
func (s *Store) Settle(ctx context.Context) bool {
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if running == nil {
		return false
	}
	select {
	case <-running.done:
	case <-time.After(patience):
	case <-ctx.Done():
	}
	return true
}

func (s *Store) background(r *reading) {
	looked := sync.OnceFunc(func() { close(r.looked) })
	if err := s.scan(s.ctx, looked); err != nil && s.ctx.Err() == nil {
		s.options.Warn("read approvals: " + err.Error())
		s.current.Store(new([]approved)) // nothing is known to be approved still
	}
	s.mu.Lock()
	s.running, s.read = nil, time.Now()
	s.mu.Unlock()
	looked()
	close(r.done)
}
