package sigcache

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/imasign/imasign-build/pkg/signing"
)

// File is the name of the database in the directory of a cache.
const File = "signatures.db"

// Errors about a cache. They are wrapped in errors that name its file or directory.
var (
	// ErrNewer means that a newer program wrote the cache.
	ErrNewer = errors.New("made by a newer version of this program")
	// ErrForeign means that the file is no cache, but a database of another program.
	ErrForeign = errors.New("a database of another program")
	// ErrUnsafe means that others could exchange the files of the cache.
	ErrUnsafe = errors.New("it is not safe to use")
	// ErrNetwork means that the cache is on a network file system.
	ErrNetwork = errors.New("a cache cannot be on a network file system")
	// ErrLocked means that another process does not release the cache.
	ErrLocked = errors.New("another process keeps the cache locked")
	// ErrDamaged means that the file is no database, or a damaged one.
	ErrDamaged = errors.New("the database of the cache is damaged")
)

// defaultLimit is the size of a cache in bytes that is not exceeded unless another one is
// asked for: about three million signatures by RSA-2048.
const defaultLimit = 1 << 30

const defaultPatience = 5 * time.Second

// Options are the options of [Open].
type Options struct {
	// Limit is the size in bytes above which the signatures that were not used for longest
	// are removed. Zero means 1 GiB.
	Limit int64
	// Warn is called at most once for each of these: the cache is no longer used, nothing is
	// stored any more, it had signatures that are not valid, it was damaged and replaced. It
	// may be nil.
	Warn func(string)
	// Existing refuses a cache that does not exist yet, with an error that wraps
	// [fs.ErrNotExist].
	Existing bool
	// Keep makes a damaged database an error that wraps [ErrDamaged], instead of replacing it.
	Keep bool
	// Now returns the time; nil means time.Now.
	Now func() time.Time

	// patience is how long the program waits for another process, once; zero means
	// defaultPatience.
	patience time.Duration
}

// Store is a cache. Several goroutines, and several processes, may use it.
type Store struct {
	dir     string // absolute
	options Options

	// turn is held by the goroutine that uses the database: its channel is full. Waiting
	// for it ends with a context, which waiting for a mutex does not.
	turn chan struct{}
	db   *database // nil: not opened yet, or not used any more
	// ended is why the cache is not used any more.
	ended error
	// unstored is why nothing is stored any more.
	unstored error
	healed   int
	measured bool  // the size was compared with the limit
	added    int64 // bytes that were stored since the size was last compared with the limit

	warned sync.Map // of kinds of warnings
}

var _ signing.Cache = (*Store)(nil)

// slowness is how long one query may take. Pages of a damaged database may form a cycle.
const slowness = time.Minute

var errSlow = errors.New("the database does not answer")

// errClosed ends the use of a Store.
var errClosed = errors.New("the cache is closed")

// Open opens the cache in the directory dir. It makes the directory, but not its parents, and
// the database. A damaged database is replaced with an empty one, with a warning, unless
// Keep is set. A cache that can only be read is opened, and stores nothing. Errors wrap
// [ErrNewer], [ErrForeign], [ErrUnsafe], [ErrNetwork], [ErrLocked], [ErrDamaged] or those of
// the file system.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	s, err := newStore(dir, o)
	if err != nil {
		return nil, err
	}
	if s.db, err = s.open(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// newStore returns a cache that is opened when it is first used.
func newStore(dir string, o Options) (*Store, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find cache %s: %w", dir, err)
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.patience == 0 {
		o.patience = defaultPatience
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{dir: absolute, options: o, turn: make(chan struct{}, 1)}, nil
}

// Path returns the path of the database.
func (s *Store) Path() string { return filepath.Join(s.dir, File) }

// Close ends the use of the cache.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer s.leave()
	s.ended = errClosed
	return s.closeDatabase()
}

func (s *Store) closeDatabase() error {
	if s.db == nil {
		return nil
	}
	err := s.db.close()
	s.db = nil
	if err != nil {
		return fmt.Errorf("close cache %s: %w", s.Path(), err)
	}
	return nil
}

// begin waits until no other goroutine uses the database. It reports whether that was before
// the context ended; the caller then calls leave.
func (s *Store) begin(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case s.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Store) leave() { <-s.turn }

// warn gives each kind of warning only once.
func (s *Store) warn(kind, format string, args ...any) {
	if _, before := s.warned.LoadOrStore(kind, true); !before && s.options.Warn != nil {
		s.options.Warn(fmt.Sprintf(format, args...))
	}
}

// today returns the day in UTC, counted from 1970-01-01.
func (s *Store) today() int64 { return dayOf(s.options.Now()) }

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

func timeOf(day int64) time.Time { return time.Unix(day*24*60*60, 0).UTC() }
