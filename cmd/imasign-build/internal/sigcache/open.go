package sigcache

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

// open opens the database, and makes it if there is none or if it is damaged. If the cache
// can only be read, s.unstored says why.
func (s *Store) open(ctx context.Context) (*database, error) {
	if err := s.makePlace(); err != nil {
		return nil, err
	}
	db, found, err := s.openAs(ctx, unix.LOCK_SH, s.tryOpen)
	switch {
	case s.unstored != nil:
	case errors.Is(err, errEmpty):
		db, _, err = s.openAs(ctx, unix.LOCK_EX, s.tryMake)
	case errors.Is(err, ErrDamaged):
		return s.heal(ctx, found, err)
	}
	return db, err
}

// heal puts a damaged database aside and opens a new one, unless another process has done so.
func (s *Store) heal(ctx context.Context, damaged identity, why error) (*database, error) {
	if s.options.Keep || s.unstored != nil || damaged == (identity{}) {
		return nil, why
	}
	if s.healed++; s.healed > 2 {
		return nil, fmt.Errorf("it was damaged again: %w", why)
	}
	db, _, err := s.openAs(ctx, unix.LOCK_EX, func(ctx context.Context) (*database, error) {
		if s.identify() == damaged {
			if err := s.replace(ctx); err != nil {
				return nil, err
			}
			s.warn("damaged", "%v; it was renamed to %s, and an empty one takes its place", why, s.aside())
		}
		return s.tryMake(ctx)
	})
	return db, err
}

// replace puts the database aside, unless a newer program has changed it, which may have looked
// like damage.
func (s *Store) replace(ctx context.Context) error {
	db, err := s.openChecked(ctx, writes)
	switch {
	case err == nil:
		err = db.close()
	case !errors.Is(err, ErrNewer) && !errors.Is(err, ErrForeign):
		err = nil
	}
	if err != nil {
		return err
	}
	return s.putAside()
}

// openAs calls open while it holds the lock of the directory. Errors name the database; found
// is which one it was.
func (s *Store) openAs(ctx context.Context, how int, open func(context.Context) (*database, error)) (db *database, found identity, err error) {
	unlock, err := s.lock(ctx, how)
	if err != nil {
		return nil, found, err
	}
	defer unlock()
	if _, err := s.checkFiles(); err != nil {
		return nil, found, err
	}
	if db, err = open(ctx); err != nil && !errors.Is(err, errEmpty) {
		return nil, s.identify(), s.name(err)
	}
	return db, found, err
}

// name adds the path of the database to an error.
func (s *Store) name(err error) error {
	return fmt.Errorf("cache %s: %w", s.Path(), judge(err))
}

// errEmpty means that the database must be made first.
var errEmpty = errors.New("the database has no tables yet")

// tryOpen opens a database that exists.
func (s *Store) tryOpen(ctx context.Context) (*database, error) {
	if s.unstored == nil {
		s.unstored = s.unwritable()
	}
	if s.unstored != nil {
		return s.openReadOnly(ctx)
	}
	if s.identify() == (identity{}) {
		return nil, errEmpty
	}
	db, err := s.openChecked(ctx, writes)
	switch codeOf(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		s.unstored = s.explain(err)
		return s.openReadOnly(ctx)
	}
	return db, err
}

// openReadOnly opens a database in which nothing can be stored.
func (s *Store) openReadOnly(ctx context.Context) (*database, error) {
	db, err := s.openChecked(ctx, reads)
	switch codeOf(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		db, err = s.openChecked(ctx, copies)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, s.unstored)
	}
	return db, nil
}

// tryMake opens a database, and makes it if it does not exist or has no tables.
func (s *Store) tryMake(ctx context.Context) (*database, error) {
	db, err := s.openChecked(ctx, makes)
	if !errors.Is(err, errEmpty) {
		return db, err
	}
	if db, err = connect(ctx, s.Path(), makes, s.options.patience); err != nil {
		return nil, err
	}
	if err := db.create(ctx); err != nil {
		return nil, errors.Join(err, db.close())
	}
	if err := db.close(); err != nil {
		return nil, err
	}
	return s.openChecked(ctx, writes)
}

// openChecked opens a database and inspects it.
func (s *Store) openChecked(ctx context.Context, how access) (*database, error) {
	db, err := connect(ctx, s.Path(), how, s.options.patience)
	if err != nil {
		return nil, err
	}
	db.file = s.identify()
	empty, err := db.inspect(ctx)
	if err == nil && empty {
		err = errEmpty
	}
	if err == nil && how != reads && how != copies {
		err = db.checkMode(ctx)
	}
	if err == nil {
		err = db.tune(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}
