package report

import "testing"

func TestGrowth(t *testing.T) {
	for n, want := range map[int64]string{0: "as large as before", 12: "12 bytes larger", -7456720: "7.5 MB smaller", -1: "1 bytes smaller"} {
		if got := growth(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
