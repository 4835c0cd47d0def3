package sigcache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// database is an open connection to SQLite. It has one connection only, because a connection
// of the pool's own could open files that another process exchanges at this moment.
type database struct {
	pool *sql.DB
	conn *sql.Conn
	file identity

	statements map[string]*sql.Stmt
}

// access is how a database is opened.
type access string

const (
	makes  access = "mode=rwc"
	writes access = "mode=rw"
	reads  access = "mode=ro"
	// copies reads the file as if nobody could change it, which needs neither locks nor other
	// files in a directory that can only be read.
	copies access = "mode=ro&immutable=1"
)

const (
	// maxSignature limits the length of signatures in bytes; see columns. Those of ML-DSA-87 have
	// 4,627.
	maxSignature = 65536
	// maxValue limits what SQLite reads of one row, whatever a damaged file says.
	maxValue = 256 << 10
)

// connect opens the file path. It reads nothing of it yet. Statements wait for other processes
// up to patience.
func connect(ctx context.Context, path string, how access, patience time.Duration) (*database, error) {
	query := string(how) + "&_defensive=1&_dqs=0&_error_rc=1&_txlock=immediate&_busy_timeout=" + strconv.FormatInt(patience.Milliseconds(), 10)
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path, RawQuery: query}).String())
	if err != nil {
		return nil, err
	}
	db := &database{pool: sql.OpenDB(connector), statements: map[string]*sql.Stmt{}}
	db.pool.SetMaxOpenConns(1)
	if db.conn, err = db.pool.Conn(ctx); err != nil {
		return nil, errors.Join(err, db.pool.Close())
	}
	if err := db.restrict(ctx); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// restrict limits what a file that somebody else wrote can do, and the memory.
func (db *database) restrict(ctx context.Context) error {
	for id, value := range map[int]int{
		sqlite3.SQLITE_LIMIT_LENGTH:        maxValue,
		sqlite3.SQLITE_LIMIT_ATTACHED:      0,
		sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
	} {
		if _, err := sqlite.Limit(db.conn, id, value); err != nil {
			return err
		}
	}
	return db.run(ctx, `
		PRAGMA trusted_schema = OFF;
		PRAGMA cell_size_check = ON;
		PRAGMA mmap_size = 0;
		PRAGMA temp_store = MEMORY`)
}

// tune prepares a database that was inspected.
func (db *database) tune(ctx context.Context) error {
	if err := db.persist(); err != nil {
		return err
	}
	return db.run(ctx, `
		PRAGMA cache_size = -4096;
		PRAGMA synchronous = NORMAL;
		PRAGMA journal_size_limit = 4194304`)
}

// persist keeps the log when the database is closed. SQLite removes it by its name, which may
// be that of another database at that moment, if this one was put aside.
func (db *database) persist() error {
	return db.conn.Raw(func(conn any) error {
		control, ok := conn.(sqlite.FileControl)
		if !ok {
			return errors.ErrUnsupported
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}

func (db *database) close() error {
	var errs []error
	for _, stmt := range db.statements {
		errs = append(errs, stmt.Close())
	}
	if db.conn != nil {
		if err := db.conn.Close(); !errors.Is(err, sql.ErrConnDone) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, db.pool.Close())...)
}

func (db *database) run(ctx context.Context, text string) error {
	_, err := db.conn.ExecContext(ctx, text)
	return err
}

// number returns the result of a query that has one.
func (db *database) number(ctx context.Context, query string) (n int64, err error) {
	err = db.conn.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

// exec runs a statement, which is prepared once.
func (db *database) exec(ctx context.Context, text string, args ...any) error {
	stmt, err := db.statement(ctx, text)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx, args...)
	return err
}

// statement returns the statement with the given text, which it prepares once.
func (db *database) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if stmt := db.statements[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := db.conn.PrepareContext(ctx, text)
	if err == nil {
		db.statements[text] = stmt
	}
	return stmt, err
}

// transaction runs change in a transaction that excludes other writers. Everything or nothing
// of it is stored. The end of the context does not interrupt the statements that begin and end
// it, after which the connection would be in an unknown state. It is no sql.Tx, which would
// prepare each statement again.
func (db *database) transaction(ctx context.Context, change func() error) error {
	if err := db.begin(ctx); err != nil {
		return err
	}
	always := context.WithoutCancel(ctx)
	err := change()
	if err == nil {
		err = db.exec(always, "COMMIT")
	}
	if err != nil {
		return errors.Join(err, db.exec(always, "ROLLBACK"))
	}
	return nil
}

// begin begins a transaction. SQLite does not queue writers: with many of them, one may find the
// database locked for longer than it waits. As long as others commit, begin tries again.
func (db *database) begin(ctx context.Context) error {
	for {
		before, err := db.changes(ctx)
		if err != nil {
			return err
		}
		err = db.exec(context.WithoutCancel(ctx), "BEGIN IMMEDIATE")
		if codeOf(err) != sqlite3.SQLITE_BUSY {
			return err
		}
		if after, failed := db.changes(ctx); failed != nil || after == before {
			return err
		}
	}
}

// changes returns a number that differs from the one before if another connection has changed
// the database since.
func (db *database) changes(ctx context.Context) (n int64, err error) {
	stmt, err := db.statement(ctx, "PRAGMA data_version")
	if err != nil {
		return 0, err
	}
	err = stmt.QueryRowContext(ctx).Scan(&n)
	return n, err
}

// used returns the number of bytes of the pages that are in use.
func (db *database) used(ctx context.Context) (bytes int64, err error) {
	return db.number(ctx, `SELECT (page_count - freelist_count) * page_size
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`)
}

// codeOf returns the primary result code of SQLite in err, or SQLITE_OK.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

// damage wraps an error in ErrDamaged.
func damage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// judge wraps errors of SQLite in the errors of this package.
func judge(err error) error {
	switch codeOf(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH:
		if !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	return err
}
