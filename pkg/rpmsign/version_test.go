package rpmsign

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestCompareInfo checks rpm's order: epochs first, digits as numbers, ~ before the
// end of a version.
func TestCompareInfo(t *testing.T) {
	infos := []Info{
		{Name: "a", base: "alpha", evr: evr{0, "1.10", "1"}},
		{Name: "b", base: "beta", evr: evr{1, "0.1", "1"}},
		{Name: "c", base: "beta", evr: evr{0, "1.10", "2"}},
		{Name: "d", base: "beta", evr: evr{0, "1.10", "1"}},
		{Name: "e", base: "beta", evr: evr{0, "1.9", "1"}},
		{Name: "f", base: "beta", evr: evr{0, "1.9~rc1", "1"}},
	}
	shuffled := slices.Clone(infos)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	slices.SortStableFunc(shuffled, func(a, b Info) int { return a.Compare(&b) })
	for i := range infos {
		if shuffled[i].Name != infos[i].Name {
			t.Fatalf("place %d has %+v, want %+v", i, shuffled[i].evr, infos[i].evr)
		}
	}
}
