package sigcache

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
)

// maxKey limits the length of public keys in bytes. Those of RSA-16384 and of ML-DSA-87 have less
// than 3,000. Longer ones read as empty.
const maxKey = 16 << 10

// keyring reads public keys by their numbers. A hostile cache may have a key for each signature,
// so only some are remembered.
type keyring struct {
	db    *database
	known map[int64][]byte
	err   error // the first
}

func (db *database) keyring() *keyring { return &keyring{db: db, known: map[int64][]byte{}} }

// key returns the public key with a number: nil if there is none, or after an error.
func (k *keyring) key(ctx context.Context, id int64) []byte {
	const most = 1024
	key, is := k.known[id]
	if is || k.err != nil {
		return key
	}
	if len(k.known) == most {
		clear(k.known)
	}
	key, k.err = k.db.key(ctx, id)
	k.known[id] = key
	return key
}

func (db *database) key(ctx context.Context, id int64) (spki []byte, err error) {
	stmt, err := db.statement(ctx, "SELECT iif(octet_length(spki) <= 16384, spki, x'') FROM key WHERE id = ?")
	if err != nil {
		return nil, err
	}
	err = stmt.QueryRowContext(ctx, id).Scan(&spki)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return spki, err
}

// dropKeys removes the keys that used does not have, and returns how many. If another process
// stores a signature by one of them meanwhile, it will not be found; it is then made anew and
// replaced.
func (db *database) dropKeys(ctx context.Context, used map[int64]bool) (removed int64, err error) {
	unused, err := db.unusedKeys(ctx, used)
	if err != nil {
		return 0, err
	}
	stmt, err := db.statement(ctx, "DELETE FROM key WHERE id IN (?"+strings.Repeat(",?", group-1)+")")
	if err != nil {
		return 0, err
	}
	for len(unused) > 0 {
		n := min(group, len(unused))
		args := make([]any, 0, group)
		for i := range group {
			args = append(args, unused[min(i, n-1)])
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return removed, err
		}
		unused, removed = unused[n:], removed+int64(n)
	}
	return removed, nil
}

func (db *database) unusedKeys(ctx context.Context, used map[int64]bool) (unused []int64, err error) {
	rows, err := db.conn.QueryContext(ctx, "SELECT id FROM key ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has its error
	for id, before := int64(0), int64(math.MinInt64); rows.Next(); before = id {
		if err := rows.Scan(&id); err != nil {
			return nil, damage("%v", err)
		}
		if id <= before { // it would lead in circles
			return nil, damage("its keys are not in order")
		}
		if !used[id] {
			unused = append(unused, id)
		}
	}
	return unused, rows.Err()
}
