package sigcache

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// The format of the database. A program refuses databases of a later version, and replaces
// those of an earlier one.
const (
	applicationID = 0x494d4153 // "IMAS": what file(1) and this program know a cache by
	version       = 1
)

// keyTable has the public keys (SubjectPublicKeyInfo, DER). signatureTable has, for each
// signature:
//
//	id         in the order in which signatures were stored, so that those of one
//	           build lie together
//	address    the first eight bytes of Entry.Address, big-endian, as a number whose order
//	           is that of the bytes: 2^63 is subtracted. What is found by it is compared
//	           with what was looked for
//	key        keyTable.id
//	xattr      0: security.ima, 1: security.evm
//	type, version, over, hash  as in ima.Form and ima.HashID
//	day        of the last use, in UTC, counted from 1970-01-01
const (
	keyTable = `CREATE TABLE key (
	id INTEGER PRIMARY KEY,
	spki BLOB NOT NULL UNIQUE
) STRICT`
	signatureTable = `CREATE TABLE signature (
	id INTEGER PRIMARY KEY,
	address INTEGER NOT NULL UNIQUE,
	key INTEGER NOT NULL,
	xattr INTEGER NOT NULL,
	type INTEGER NOT NULL,
	version INTEGER NOT NULL,
	over INTEGER NOT NULL,
	hash INTEGER NOT NULL,
	digest BLOB NOT NULL,
	signature BLOB NOT NULL,
	day INTEGER NOT NULL
) STRICT`
)

// schema returns what sqlite_schema has: type, name and text, in the order of names.
func schema() []string {
	return []string{
		"table key " + keyTable,
		"table signature " + signatureTable,
		"index sqlite_autoindex_key_1 ",
		"index sqlite_autoindex_signature_1 ",
	}
}

// xattrs are the names of xattrs by their numbers in the database.
func xattrs() []string { return []string{ima.XattrIMA, ima.XattrEVM} }

// inspect returns an error unless the database is a cache of this version. It reports whether
// nothing is in it yet.
func (db *database) inspect(ctx context.Context) (empty bool, err error) {
	// Neither number needs the schema, which may be one that only a later SQLite can read.
	id, err := db.number(ctx, "PRAGMA application_id")
	if err != nil {
		return false, err
	}
	is, err := db.number(ctx, "PRAGMA user_version")
	if err != nil {
		return false, err
	}
	if id == applicationID && is > version {
		return false, fmt.Errorf("%w: its format is version %d, and this program reads version %d", ErrNewer, is, version)
	}
	has, err := db.schema(ctx)
	switch {
	case err != nil:
		return false, err
	case id == 0 && is == 0 && len(has) == 0:
		return true, nil
	case id != applicationID:
		return false, ErrForeign
	case is != version:
		return false, damage("version %d of its format is unknown", is)
	case !slices.Equal(has, schema()):
		return false, damage("its tables are not those of a cache")
	}
	return false, nil
}

// checkMode returns an error unless the database has a write-ahead log.
func (db *database) checkMode(ctx context.Context) error {
	var mode string
	if err := db.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return damage("it has no write-ahead log, but a journal of mode %s", mode)
	}
	return nil
}

func (db *database) schema(ctx context.Context) (has []string, err error) {
	rows, err := db.conn.QueryContext(ctx, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY name LIMIT 8")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has its error
	for rows.Next() {
		var kind, name, text string
		if err := rows.Scan(&kind, &name, &text); err != nil {
			return nil, err
		}
		has = append(has, kind+" "+name+" "+text)
	}
	return has, rows.Err()
}

// create makes the tables. A process that is killed meanwhile leaves an empty database.
func (db *database) create(ctx context.Context) error {
	err := db.run(ctx, `
		PRAGMA auto_vacuum = INCREMENTAL;
		PRAGMA journal_mode = WAL;
		PRAGMA synchronous = NORMAL`)
	if err != nil {
		return err
	}
	return db.run(ctx, strings.Join([]string{
		"BEGIN IMMEDIATE", keyTable, signatureTable,
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", version),
		"COMMIT",
	}, ";\n"))
}
