package operate

import "github.com/imasign/imasign-build/pkg/signing"

// Totals add up the outcomes of the units.
type Totals struct {
	Counts  signing.Counts // of the entries of units that did not fail
	Units   int            // begun
	Skipped int            // without a plan (Opened.Skip)
	Changed int            // in a dry run: that would be changed
	Failed  int
	Grows   int64 // bytes by which the changed units grow
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
