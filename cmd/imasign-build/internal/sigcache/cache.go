package sigcache

import (
	"bytes"
	"context"
	"errors"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Get implements [signing.Cache]. It marks what it returns as used today.
func (s *Store) Get(ctx context.Context, b signing.Batch) [][]byte {
	signatures := make([][]byte, len(b.Digests))
	spki, err := KeyOf(b.Key)
	if err != nil {
		return signatures
	}
	for from := 0; from < len(b.Digests); from += group {
		to := min(from+group, len(b.Digests))
		s.do(ctx, func(ctx context.Context, db *database) error {
			return s.get(ctx, db, entriesOf(&b, spki, from, to), signatures[from:to])
		})
	}
	return signatures
}

// entriesOf returns the entries of a part of a batch, without signatures.
func entriesOf(b *signing.Batch, spki []byte, from, to int) []Entry {
	entries := make([]Entry, 0, to-from)
	for _, digest := range b.Digests[from:to] {
		entries = append(entries, Entry{Key: spki, Form: b.Form, Hash: b.Hash, Digest: digest})
	}
	return entries
}

// get sets the signatures of up to 128 entries with the same key.
func (s *Store) get(ctx context.Context, db *database, entries []Entry, signatures [][]byte) error {
	key, err := db.keyNumber(ctx, entries[0].Key)
	if err != nil || key == 0 {
		return err
	}
	wanted, addresses := make([]row, len(entries)), make([]int64, len(entries))
	for i := range entries {
		wanted[i], _ = rowOf(&entries[i], key, 0)
		addresses[i] = wanted[i].address
	}
	found, err := db.lookUp(ctx, &wanted[0], addresses)
	if err != nil {
		return err
	}
	today := s.today()
	var ids []int64
	for i := range wanted {
		r, has := found[wanted[i].address]
		if !has || !bytes.Equal(r.digest, wanted[i].digest) {
			continue
		}
		signatures[i] = r.signature
		if stale(r.day, today) {
			ids = append(ids, r.id)
		}
	}
	if len(ids) > 0 && s.stores() {
		return s.storing(db.use(ctx, ids, today))
	}
	return nil
}

// Put implements [signing.Cache].
func (s *Store) Put(ctx context.Context, b signing.Batch, signatures, refused [][]byte) [][]byte {
	kept := make([][]byte, len(b.Digests))
	spki, err := KeyOf(b.Key)
	if err != nil {
		return kept
	}
	for from := 0; from < len(b.Digests); from += group {
		to := min(from+group, len(b.Digests))
		entries := entriesOf(&b, spki, from, to)
		for i := range entries {
			entries[i].Signature = at(signatures, from+i)
			if at(refused, from+i) != nil {
				s.warn("refused", "cache %s has signatures that are not valid; they are replaced", s.Path())
			}
		}
		s.do(ctx, func(ctx context.Context, db *database) error {
			_, err := s.merge(ctx, db, entries, func(i int) []byte { return at(refused, from+i) }, kept[from:to])
			return err
		})
		s.limit(ctx)
	}
	return kept
}

func at(list [][]byte, i int) []byte {
	if i >= len(list) {
		return nil
	}
	return list[i]
}

// merge stores up to 128 entries, unless the database has others in their places that refused
// does not name. It sets kept to the signatures that the database has then, and returns the
// number of entries that were added.
func (s *Store) merge(ctx context.Context, db *database, entries []Entry, refused func(int) []byte, kept [][]byte) (added int64, err error) {
	if !s.stores() {
		s.warnUnstored()
		return 0, nil
	}
	now, size := make([][]byte, len(entries)), int64(0)
	err = db.transaction(ctx, func() error {
		rows, found, err := s.places(ctx, db, entries)
		if err != nil {
			return err
		}
		for i := range rows {
			r := &rows[i]
			old, has := found[r.address]
			switch {
			case len(r.signature) == 0:
				continue
			case has && old.same(r) && len(old.signature) > 0 && (refused(i) == nil || !bytes.Equal(old.signature, refused(i))):
				now[i] = old.signature
				continue
			case !has:
				added, size = added+1, size+int64(rowBytes+len(r.digest)+len(r.signature))
			case old.id == 0: // added just now; both cannot be had
				continue
			}
			r.id = old.id
			if err := db.put(ctx, r); err != nil {
				return err
			}
			found[r.address], now[i] = *r, r.signature
		}
		return nil
	})
	if err := s.storing(err); err != nil || !s.stores() {
		return 0, err
	}
	copy(kept, now)
	s.added += size
	return added, nil
}

// places returns the rows that entries get, without a signature where the cache cannot have
// the entry, and those that are in their places.
func (s *Store) places(ctx context.Context, db *database, entries []Entry) (rows []row, found map[int64]row, err error) {
	rows, today := make([]row, len(entries)), s.today()
	addresses, keys := make([]int64, len(entries)), map[string]int64{}
	for i := range entries {
		e := &entries[i]
		key := keys[string(e.Key)]
		if key == 0 {
			if key, err = db.addKey(ctx, e.Key); err != nil {
				return nil, nil, err
			}
			keys[string(e.Key)] = key
		}
		day := today
		if !e.Used.IsZero() {
			day = max(min(dayOf(e.Used), today), 0)
		}
		r, ok := rowOf(e, key, day)
		if !ok {
			r.signature = nil
		}
		rows[i], addresses[i] = r, r.address
	}
	found, err = db.find(ctx, addresses)
	return rows, found, err
}

// do runs use with the database while signing: it replaces a damaged database, and ends the
// use of the cache after any other error. The end of the context ends only the wait for the
// database: interrupting a transaction would leave the connection in an unknown state.
func (s *Store) do(ctx context.Context, use func(context.Context, *database) error) {
	if !s.begin(ctx) {
		return
	}
	defer s.leave()
	ctx = context.WithoutCancel(ctx)
	for s.ended == nil {
		err := s.try(ctx, use)
		if err == nil {
			return
		}
		file := identity{}
		if s.db != nil {
			file = s.db.file
		}
		_ = s.closeDatabase() // whatever it has is damaged or cannot be used
		if errors.Is(err, ErrDamaged) {
			s.db, err = s.heal(ctx, file, err)
		}
		if err != nil {
			s.ended = err
			s.warn("ended", "%v; signatures are made without it", err)
		}
	}
}

func (s *Store) try(ctx context.Context, use func(context.Context, *database) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, slowness, errSlow)
	defer cancel()
	if s.db == nil {
		db, err := s.open(ctx)
		if err != nil {
			return err
		}
		s.db = db
	}
	err := use(ctx, s.db)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errSlow):
		err = errSlow
	}
	return s.name(err)
}

// storing returns the error of a change, unless it only means that nothing can be stored any
// more.
func (s *Store) storing(err error) error {
	switch codeOf(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		s.unstored = s.explain(judge(err))
		s.warnUnstored()
		return nil
	}
	return err
}

func (s *Store) stores() bool { return s.unstored == nil }

func (s *Store) warnUnstored() {
	s.warn("unstored", "no new signatures are stored in cache %s: %v", s.Path(), s.unstored)
}
