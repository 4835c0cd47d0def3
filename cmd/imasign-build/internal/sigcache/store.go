package sigcache

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/imasign/imasign-build/pkg/signing"
)

// File is the name of the database in the directory of a cache.
const File = "signatures.db"

// Errors about a cache. They name its file.
var (
	// ErrNewer means that a newer program wrote the cache.
	ErrNewer = errors.New("a newer program made this cache")
	// ErrNetwork means that the cache lies on a network file system.
	ErrNetwork = errors.New("a cache cannot lie on a network file system")
	// ErrLocked means that another process does not release the cache.
	ErrLocked = errors.New("another process keeps the cache locked")
	// ErrDamaged means that the file is no database, or a damaged one.
	ErrDamaged = errors.New("the database of the cache is damaged")
)

// Options are the options of [Open].
type Options struct {
	// Limit is the size in bytes above which the signatures that were not used for longest
	// are removed. Zero means 1 GiB.
	Limit int64
	// Warn is told, once, why the cache is not used any more, and that it was damaged and is
	// started anew. It may be nil.
	Warn func(string)
	// Existing refuses a cache that does not exist yet, with an error that wraps
	// [fs.ErrNotExist].
	Existing bool
	// Keep makes a damaged database an error that wraps [ErrDamaged], instead of starting it
	// anew.
	Keep bool
	// Now returns the time; nil means time.Now.
	Now func() time.Time
}

// Store is an open cache. Several goroutines, and several processes, may use it.
type Store struct{}

var _ signing.Cache = (*Store)(nil)

// Open opens the cache in the directory dir. It makes the directory, but not its parents, and
// the database. A database that is damaged is started anew, with a warning, unless
// Keep is set. A cache that can only be read is opened, and stores nothing. Errors wrap
// [ErrNewer], [ErrNetwork], [ErrLocked], [ErrDamaged] or those of the file system.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	return nil, errors.ErrUnsupported
}

// Close ends the use of the cache.
func (s *Store) Close() error { return nil }

// Get implements [signing.Cache]. It marks what it returns as used today.
func (s *Store) Get(ctx context.Context, b signing.Batch) [][]byte { return nil }

// Put implements [signing.Cache].
func (s *Store) Put(ctx context.Context, b signing.Batch, signatures, refused [][]byte) [][]byte {
	return nil
}

// Stats says what a cache has.
type Stats struct {
	Entries int64
	Bytes   int64 // size of the files
	Limit   int64 // see Options
	Keys    []KeyStats
}

// KeyStats says what a cache has of one key.
type KeyStats struct {
	Key            []byte // as in Entry
	Entries        int64
	Oldest, Newest time.Time // days of last use
}

// Stats counts what the cache has.
func (s *Store) Stats(ctx context.Context) (Stats, error) { return Stats{}, errors.ErrUnsupported }

// Entries yields all entries, in the order of their addresses' first byte. The keys and
// digests may be shared between entries.
func (s *Store) Entries(ctx context.Context) iter.Seq2[Entry, error] { return nil }

// Add stores entries that the cache does not have, and returns how many. It does not verify
// them.
func (s *Store) Add(ctx context.Context, entries iter.Seq2[Entry, error]) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Remove removes the entries that drop selects, and returns how many.
func (s *Store) Remove(ctx context.Context, drop func(*Entry) bool) (int64, error) {
	return 0, errors.ErrUnsupported
}

// Check reads the whole database and returns an error that wraps [ErrDamaged] if it is
// damaged.
func (s *Store) Check(ctx context.Context) error { return errors.ErrUnsupported }

// Shrink removes the entries that were not used for longest until the cache has at most size
// bytes, and gives the space back to the file system. It returns how many it removed.
func (s *Store) Shrink(ctx context.Context, size int64) (int64, error) {
	return 0, errors.ErrUnsupported
}
