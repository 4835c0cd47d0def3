package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/internal/kernel"
)

// later records the verdicts of a release on the rules of a table. A row of the file says that a
// rule has a verdict from a release on: RELEASE, VERDICT, rule. The rows of later releases stay
// true.
func later(name string, t *table, release string, verdicts map[int]string) error {
	all, err := readTable(name)
	if err != nil {
		return err
	}
	base := slices.Index(t.columns, "6.12")
	for n, row := range t.rows {
		rule := row[len(row)-1]
		history := map[string]string{"6.12": row[base]} // verdicts by release
		releases := []string{"6.12"}
		for _, r := range all.rows {
			if r[2] == rule {
				history[r[0]] = r[1]
				releases = append(releases, r[0])
			}
		}
		all.rows = slices.DeleteFunc(all.rows, func(r []string) bool { return r[2] == rule && r[0] == release })
		if before := latest(releases, release); history[before] != verdicts[n] {
			all.rows = append(all.rows, []string{release, verdicts[n], rule})
		}
	}
	slices.SortStableFunc(all.rows, func(a, b []string) int { return compare(a[0], b[0]) })
	return all.write(name)
}

// latest returns the newest of some releases that is older than another.
func latest(releases []string, than string) string {
	older := slices.DeleteFunc(slices.Clone(releases), func(r string) bool { return compare(r, than) >= 0 })
	return slices.MaxFunc(older, compare)
}

func compare(a, b string) int {
	v, err := kernel.ParseVersion(a)
	w, wrong := kernel.ParseVersion(b)
	if err != nil || wrong != nil {
		panic(fmt.Sprintf("releases %q and %q", a, b))
	}
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor))
}
