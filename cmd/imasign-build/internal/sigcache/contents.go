package sigcache

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"math"
	"os"
	"slices"
	"time"
)

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

// examine runs use with the database. Unlike do, it returns all errors, and changes nothing
// because of them.
func (s *Store) examine(ctx context.Context, use func(*database) error) error {
	if !s.begin(ctx) {
		return context.Cause(ctx)
	}
	defer s.leave()
	if s.ended != nil {
		return s.ended
	}
	if s.db == nil {
		db, err := s.open(ctx)
		if err != nil {
			return err
		}
		s.db = db
	}
	if err := use(s.db); err != nil {
		return s.name(err)
	}
	return nil
}

// change is like examine, for what changes the cache.
func (s *Store) change(ctx context.Context, use func(*database) error) error {
	return s.examine(ctx, func(db *database) error {
		if s.unstored != nil {
			return s.unstored
		}
		return use(db)
	})
}

// Stats counts what the cache has.
func (s *Store) Stats(ctx context.Context) (stats Stats, err error) {
	err = s.examine(ctx, func(db *database) error {
		counts := map[int64]*KeyStats{}
		err := db.scan(ctx, func(rows []row) error {
			for i := range rows {
				count(counts, &rows[i])
			}
			return nil
		})
		keys := db.keyring()
		for id, k := range counts {
			k.Key = keys.key(ctx, id)
			stats.Keys, stats.Entries = append(stats.Keys, *k), stats.Entries+k.Entries
		}
		return errors.Join(err, keys.err)
	})
	slices.SortFunc(stats.Keys, func(a, b KeyStats) int { return slices.Compare(a.Key, b.Key) })
	stats.Limit = s.options.Limit
	for _, suffix := range suffixes() {
		if info, err := os.Lstat(s.Path() + suffix); err == nil {
			stats.Bytes += info.Size()
		}
	}
	return stats, err
}

func count(counts map[int64]*KeyStats, r *row) {
	day := timeOf(r.day)
	k := counts[r.key]
	if k == nil {
		k = &KeyStats{Oldest: day, Newest: day}
		counts[r.key] = k
	}
	k.Entries++
	if day.Before(k.Oldest) {
		k.Oldest = day
	}
	if day.After(k.Newest) {
		k.Newest = day
	}
}

// Entries yields all entries, in the order of their addresses' first byte. The keys and
// digests may be shared between entries. An entry that cannot be what it seems to be, and
// that Get never returns, has no signature.
func (s *Store) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var list []Entry
		after, left := int64(math.MinInt64), int64(math.MaxInt64)
		for first := true; first || len(list) > 0; first = false {
			err := s.examine(ctx, func(db *database) (err error) {
				if first {
					if left, err = db.maxRows(ctx); err != nil {
						return err
					}
				}
				list, after, err = db.entries(ctx, after, first)
				if left -= int64(len(list)); err == nil && left < 0 {
					err = damage("it has more rows than fit into it")
				}
				return err
			})
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for i := range list {
				if !yield(list[i], nil) {
					return
				}
			}
		}
	}
}

// entries returns the next entries after an address, and the address of the last. The first
// entries begin with that address.
func (db *database) entries(ctx context.Context, after int64, first bool) (list []Entry, last int64, err error) {
	rows, err := db.page(ctx, "SELECT "+columns+" FROM signature WHERE address >= ?1 AND (address > ?1 OR ?2) ORDER BY address LIMIT 1024", after, first)
	if err != nil {
		return nil, after, err
	}
	keys := db.keyring() // not that of an earlier call: a number may be that of another key by now
	for i := range rows {
		r := &rows[i]
		if r.address <= after && (i > 0 || !first) {
			return nil, after, damage("its rows are not in order")
		}
		after = r.address
		list = append(list, r.entry(keys.key(ctx, r.key)))
	}
	return list, after, keys.err
}

// Add stores entries that the cache does not have, and returns how many. It does not verify
// them.
func (s *Store) Add(ctx context.Context, entries iter.Seq2[Entry, error]) (added int64, err error) {
	list := make([]Entry, 0, group)
	flush := func() error {
		err := s.change(ctx, func(db *database) error {
			n, err := s.merge(ctx, db, list, func(int) []byte { return nil }, make([][]byte, len(list)))
			added += n
			if err == nil {
				err = s.unstored
			}
			return err
		})
		s.limit(ctx)
		list = list[:0]
		return err
	}
	for e, err := range entries {
		if err != nil {
			return added, err
		}
		if list = append(list, e); len(list) == group {
			if err := flush(); err != nil {
				return added, err
			}
		}
	}
	if len(list) > 0 {
		return added, flush()
	}
	return added, nil
}

// Remove removes the entries that drop selects, and returns how many.
func (s *Store) Remove(ctx context.Context, drop func(*Entry) bool) (removed int64, err error) {
	err = s.change(ctx, func(db *database) error {
		keys := db.keyring()
		removed, err = db.removeRows(ctx, func(r *row) bool {
			e := r.entry(keys.key(ctx, r.key))
			return keys.err == nil && drop(&e)
		})
		if err := errors.Join(err, keys.err); err != nil {
			return err
		}
		return db.giveBack(ctx)
	})
	return removed, err
}

// Check reads the whole database and returns an error that wraps [ErrDamaged] if it is
// damaged. It then replaces the database with an empty one, unless Options.Keep is set.
func (s *Store) Check(ctx context.Context) error {
	var file identity
	err := s.examine(ctx, func(db *database) error {
		file = db.file
		var result string
		if err := db.conn.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
			return err
		}
		if result != "ok" {
			return damage("%s", result)
		}
		return nil
	})
	if !errors.Is(err, ErrDamaged) || s.options.Keep || !s.begin(ctx) {
		return err
	}
	defer s.leave()
	_ = s.closeDatabase() // it is damaged
	var healing error
	if s.db, healing = s.heal(ctx, file, err); healing != nil {
		return healing
	}
	return err
}

// Shrink removes the entries that were not used for longest until the cache has at most size
// bytes, and gives the space back to the file system. It returns how many it removed.
func (s *Store) Shrink(ctx context.Context, size int64) (removed int64, err error) {
	err = s.change(ctx, func(db *database) (err error) {
		if removed, err = db.shrink(ctx, size, s.today()); err != nil {
			return err
		}
		return db.giveBack(ctx)
	})
	if err == nil {
		if err = os.Remove(s.aside()); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return removed, err
}

// giveBack removes keys without signatures, and makes the files as small as they can be.
func (db *database) giveBack(ctx context.Context) error {
	if err := db.run(ctx, "DELETE FROM key WHERE id NOT IN (SELECT key FROM signature)"); err != nil {
		return err
	}
	for _, text := range []string{"PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if err := db.drain(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// drain runs a statement that does its work while its rows are read.
func (db *database) drain(ctx context.Context, text string) error {
	rows, err := db.conn.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}
