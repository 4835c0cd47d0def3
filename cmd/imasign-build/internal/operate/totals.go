package operate

import "github.com/imasign/imasign-build/pkg/signing"

// Totals add up what became of the units.
type Totals struct {
	Counts  signing.Counts // of the entries of units that did not fail
	Units   int            // all that were begun
	Skipped int            // of which nothing was planned (Opened.Skip)
	Changed int            // or to be changed, in a dry run
	Failed  int
	Grows   int64 // bytes that the changed ones become longer
}

func (t *Totals) add(o *Outcome) {
	t.Units++
	if o.Err != nil {
		t.Failed++
		return
	}
	t.Counts.Add(o.Plan.Counts())
	switch {
	case o.Skip != "":
		t.Skipped++
	case o.Change.Any:
		t.Changed++
		t.Grows += o.Change.Grows
	}
}
