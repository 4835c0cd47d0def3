package sigcache

import (
	"context"
	"maps"
	"math"
	"slices"
	"strings"
)

// limit removes the signatures that were not used for longest, if the cache is larger than its
// limit. Since other processes add to it, too, it looks at the size after every 1/256 of
// the limit that was added, and after the first addition.
func (s *Store) limit(ctx context.Context) {
	s.do(ctx, func(ctx context.Context, db *database) error {
		if !s.stores() || s.added == 0 || s.measured && s.added < s.options.Limit/256 {
			return nil
		}
		s.measured, s.added = true, 0
		used, err := db.used(ctx)
		if err != nil || used <= s.options.Limit {
			return err
		}
		_, err = db.shrink(ctx, s.options.Limit/10*9, s.today())
		return s.storing(err)
	})
}

// shrink removes the rows that were not used for longest until the pages in use have about
// target bytes. It returns how many it removed. Before that, it removes keys without rows.
func (db *database) shrink(ctx context.Context, target, today int64) (removed int64, err error) {
	for {
		used, err := db.used(ctx)
		if err != nil || used <= target {
			return removed, err
		}
		n, err := db.evict(ctx, used, target, today)
		if removed += n; err != nil || n == 0 {
			return removed, err
		}
	}
}

// evict removes about as many of the oldest rows as must go for used bytes to become target.
// Pages are freed when all of their rows are gone, so that may be too few.
func (db *database) evict(ctx context.Context, used, target, today int64) (int64, error) {
	days, keys, total, err := db.measure(ctx, today)
	if err != nil {
		return 0, err
	}
	if n, err := db.dropKeys(ctx, keys); err != nil {
		return 0, err
	} else if n > 0 {
		if used, err = db.used(ctx); err != nil {
			return 0, err
		}
	}
	if total == 0 || used <= target {
		return 0, nil
	}
	left := max(1, int64(float64(total)*float64(used-target)/float64(used)))
	last := int64(0) // the age of which only a part goes
	for _, day := range slices.Backward(slices.Sorted(maps.Keys(days))) {
		if last = day; days[day] >= left {
			break
		}
		left -= days[day]
	}
	return db.removeRows(ctx, func(r *row) bool {
		a := age(r.day, today)
		if a == last && left > 0 {
			left -= r.size()
			return true
		}
		return a > last
	})
}

// measure returns the sizes of all rows by their age, the numbers of their keys, and their size in
// all.
func (db *database) measure(ctx context.Context, today int64) (days map[int64]int64, keys map[int64]bool, total int64, err error) {
	days, keys = map[int64]int64{}, map[int64]bool{}
	err = db.scan(ctx, func(rows []row) error {
		for i := range rows {
			size := rows[i].size()
			days[age(rows[i].day, today)] += size
			total += size
			keys[rows[i].key] = true
		}
		return nil
	})
	return days, keys, total, err
}

// age returns for how many days a row was not used. A day after tomorrow's is a mistake of a
// clock, or a lie.
func age(day, today int64) int64 {
	if day > today+1 || day < 0 {
		return today + 1
	}
	return max(today-day, 0)
}

func (r *row) size() int64 { return int64(rowBytes + len(r.digest) + len(r.signature)) }

// removeRows removes the rows that drop selects, and returns how many.
func (db *database) removeRows(ctx context.Context, drop func(*row) bool) (removed int64, err error) {
	err = db.scan(ctx, func(rows []row) error {
		dropped := slices.DeleteFunc(rows, func(r row) bool { return !drop(&r) })
		for part := range slices.Chunk(dropped, group) {
			n, err := db.delete(ctx, part)
			if removed += n; err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// delete removes up to 128 rows, unless they were used on a later day meanwhile.
func (db *database) delete(ctx context.Context, rows []row) (removed int64, err error) {
	stmt, err := db.statement(ctx, "DELETE FROM signature WHERE day <= ?1 AND id IN (?2"+strings.Repeat(",?", group-1)+")")
	if err != nil {
		return 0, err
	}
	day := int64(math.MinInt64)
	args := make([]any, 1, 1+group)
	for i := range group {
		r := &rows[min(i, len(rows)-1)]
		day, args = max(day, r.day), append(args, r.id)
	}
	args[0] = day
	err = db.transaction(ctx, func() error {
		result, err := stmt.ExecContext(ctx, args...)
		if err != nil {
			return err
		}
		removed, err = result.RowsAffected()
		return err
	})
	return removed, err
}
