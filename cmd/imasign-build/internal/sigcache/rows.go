package sigcache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// group is the number of rows that one query looks for.
const group = 128

// row is a row of the table of signatures. Its numbers are not checked.
type row struct {
	id, address, key                 int64
	xattr, kind, version, over, hash int64
	digest, signature                []byte
	day                              int64
}

// columns are those of a row. Digests and signatures that are longer than any become empty.
const (
	columns   = "id, address, key, xattr, type, version, over, hash, " + ofDigest + ", day"
	ofDigest  = "iif(octet_length(digest) <= 64, digest, x''), iif(octet_length(signature) <= 65536, signature, x'')"
	addressed = " FROM signature WHERE address IN "
)

func (r *row) scan(rows *sql.Rows) error {
	return rows.Scan(&r.id, &r.address, &r.key, &r.xattr, &r.kind, &r.version, &r.over, &r.hash, &r.digest, &r.signature, &r.day)
}

// place returns what an address is in the database.
func place(address [sha256.Size]byte) int64 {
	return int64(binary.BigEndian.Uint64(address[:]) ^ 1<<63)
}

// rowOf returns the row of an entry whose key has the given number. It reports whether the cache
// can have such an entry.
func rowOf(e *Entry, key, day int64) (r row, ok bool) {
	xattr := slices.Index(xattrs(), e.Form.Xattr)
	ok = xattr >= 0 && len(e.Signature) <= maxSignature && len(e.Digest) == e.Hash.Size() && len(e.Digest) > 0
	return row{
		address: place(e.Address()), key: key,
		xattr: int64(xattr), kind: int64(e.Form.Type), version: int64(e.Form.Version), over: int64(e.Form.Over), hash: int64(e.Hash),
		digest: e.Digest, signature: e.Signature, day: day,
	}, ok
}

// same reports whether two rows are of the same key, form, hash and digest.
func (r *row) same(other *row) bool {
	return r.address == other.address && r.key == other.key && r.xattr == other.xattr && r.kind == other.kind && r.version == other.version &&
		r.over == other.over && r.hash == other.hash && bytes.Equal(r.digest, other.digest)
}

// entry returns the entry of a row. If the row cannot be what it seems to be, the entry has no
// signature.
func (r *row) entry(spki []byte) Entry {
	e := Entry{Key: spki, Hash: ima.HashID(r.hash), Digest: r.digest, Used: timeOf(r.day)}
	e.Form = ima.Form{Type: ima.Type(r.kind), Version: uint8(r.version), Over: ima.Over(r.over)}
	if r.xattr >= 0 && r.xattr < int64(len(xattrs())) {
		e.Form.Xattr = xattrs()[r.xattr]
	}
	if again, ok := rowOf(&e, r.key, r.day); ok && again.same(r) {
		e.Signature = r.signature
	}
	return e
}

// find returns the rows with up to 128 addresses, by address.
func (db *database) find(ctx context.Context, addresses []int64) (map[int64]row, error) {
	return db.collect(ctx, (*row).scan, "SELECT "+columns+addressed+inGroup(1), groupOf(addresses)...)
}

// lookUp is find for rows with the key, form and hash of like. They have only what differs, which
// takes a fifth less time to read.
func (db *database) lookUp(ctx context.Context, like *row, addresses []int64) (map[int64]row, error) {
	scan := func(r *row, rows *sql.Rows) error {
		return rows.Scan(&r.id, &r.address, &r.digest, &r.signature, &r.day)
	}
	text := "SELECT id, address, " + ofDigest + ", day" + addressed + inGroup(7) +
		" AND key = ?1 AND xattr = ?2 AND type = ?3 AND version = ?4 AND over = ?5 AND hash = ?6"
	args := []any{like.key, like.xattr, like.kind, like.version, like.over, like.hash}
	return db.collect(ctx, scan, text, append(args, groupOf(addresses)...)...)
}

// inGroup returns the parameters for 128 values, which are numbered from first.
func inGroup(first int) string {
	return "(?" + strconv.Itoa(first) + strings.Repeat(",?", group-1) + ")"
}

// groupOf returns 128 arguments: all values, the last of them as often as necessary.
func groupOf(values []int64) []any {
	args := make([]any, group)
	for i := range args {
		args[i] = values[min(i, len(values)-1)]
	}
	return args
}

// collect returns the rows of a query by their address.
func (db *database) collect(ctx context.Context, scan func(*row, *sql.Rows) error, text string, args ...any) (map[int64]row, error) {
	stmt, err := db.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has its error
	found := make(map[int64]row, group)
	for rows.Next() {
		var r row
		if err := scan(&r, rows); err != nil {
			return nil, damage("%v", err)
		}
		found[r.address] = r
	}
	return found, rows.Err()
}

// keyNumber returns the number of a public key, 0 if the database does not have it.
func (db *database) keyNumber(ctx context.Context, spki []byte) (n int64, err error) {
	stmt, err := db.statement(ctx, "SELECT coalesce(max(id), 0) FROM key WHERE spki = ?")
	if err != nil {
		return 0, err
	}
	err = stmt.QueryRowContext(ctx, spki).Scan(&n)
	return n, err
}

// addKey returns the number of a public key, which it adds to the database.
func (db *database) addKey(ctx context.Context, spki []byte) (int64, error) {
	n, err := db.keyNumber(ctx, spki)
	if n != 0 || err != nil {
		return n, err
	}
	if err := db.exec(ctx, "INSERT INTO key (spki) VALUES (?)", spki); err != nil {
		return 0, err
	}
	return db.keyNumber(ctx, spki)
}

const (
	insertRow = "INSERT INTO signature (address, key, xattr, type, version, over, hash, digest, signature, day) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	updateRow = "UPDATE signature SET address = ?, key = ?, xattr = ?, type = ?, version = ?, over = ?, hash = ?, digest = ?, signature = ?, day = ? WHERE id = ?"
)

// put stores a row: in place of the row with the number r.id, or as a new one if that is 0.
func (db *database) put(ctx context.Context, r *row) error {
	text, args := insertRow, []any{r.address, r.key, r.xattr, r.kind, r.version, r.over, r.hash, r.digest, r.signature, r.day}
	if r.id != 0 {
		text, args = updateRow, append(args, r.id)
	}
	return db.exec(ctx, text, args...)
}

// rowBytes is about the number of bytes that a row takes in both of its b-trees, without
// digest and signature.
const rowBytes = 56

// stale reports whether a day is not today's. A day after tomorrow's is a mistake of a clock.
func stale(day, today int64) bool { return day < today || day > today+1 }

// use marks up to 128 rows as used today.
func (db *database) use(ctx context.Context, ids []int64, today int64) error {
	return db.exec(ctx, "UPDATE signature SET day = ?1 WHERE (day < ?1 OR day > ?1 + 1) AND id IN "+inGroup(2), append([]any{today}, groupOf(ids)...)...)
}

// scan calls each for all rows, in the order of their numbers. It keeps no transaction between groups of rows.
func (db *database) scan(ctx context.Context, each func([]row) error) error {
	left, err := db.maxRows(ctx)
	if err != nil {
		return err
	}
	for after := int64(math.MinInt64); ; {
		rows, err := db.page(ctx, "SELECT "+columns+" FROM signature WHERE id > ? ORDER BY id LIMIT 256", after)
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			if rows[i].id <= after {
				return damage("its rows are not in order")
			}
			after = rows[i].id
		}
		if left -= int64(len(rows)); left < 0 {
			return damage("it has more rows than fit into it")
		}
		if err := each(rows); err != nil {
			return err
		}
	}
}

// maxRows returns more than the number of rows that fit into the database. A damaged one may
// contain cycles.
func (db *database) maxRows(ctx context.Context) (int64, error) {
	n, err := db.number(ctx, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
	return n/16 + 4096, err
}

// page returns the rows of a query.
func (db *database) page(ctx context.Context, query string, args ...any) (list []row, err error) {
	rows, err := db.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has its error
	for rows.Next() {
		var r row
		if err := r.scan(rows); err != nil {
			return nil, damage("%v", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
