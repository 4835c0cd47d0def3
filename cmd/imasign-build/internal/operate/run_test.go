package operate_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/signing"
)

func TestRunOrder(t *testing.T) {
	w, ctx := newWorld(t)
	op, f := operation(t, w)
	err := operate.Run(ctx, w.unit("a"), op, func(o *operate.Outcome) error {
		if o.Name != "a" || !o.Change.Any || o.Change.Grows != 10 || o.Plan.Counts().Hashed != 1 {
			t.Errorf("%+v", o)
		}
		for r, err := range o.Plan.Records() {
			if err != nil || r.Path != "file" {
				t.Error(r, err)
			}
		}
		return w.do("take a")
	})
	want := []string{"open a", "plan a", "list a", "create manifest", "write manifest", "prepare a", "commit a", "close a", "commit manifest", "take a"}
	if err != nil || !slices.Equal(w.events, want) {
		t.Errorf("%v\n%q", err, w.events)
	}
	if f.state != "committed" || !strings.Contains(f.String(), `"file"`) {
		t.Errorf("the manifest is %s: %s", f.state, &f.Buffer)
	}
}

func TestRunFails(t *testing.T) {
	for fail, want := range map[string]string{
		"open a":          "boom",
		"plan a":          "boom\nnothing was changed",
		"list a":          "boom\nnothing was changed",
		"create manifest": "boom\nnothing was changed",
		"write manifest":  "write the manifest: boom\nnothing was changed",
		"prepare a":       "boom\nnothing was changed",
		"commit a":        "boom",
		"commit manifest": "boom\nthe manifest is missing, everything else is done: run it again",
		"close a":         "",
		"take a":          "boom",
	} {
		w, ctx := newWorld(t)
		w.fail = fail
		op, f := operation(t, w)
		err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return w.do("take a") })
		if got := fmt.Sprint(err); got != want && (want != "" || err != nil) {
			t.Errorf("%s fails: %s", fail, got)
		}
		if whole := want == "" || fail == "take a"; whole != (f.state == "committed") {
			t.Errorf("%s fails: the manifest is %q", fail, f.state)
		}
		if begun := w.did("create manifest") && fail != "create manifest"; begun && f.state == "" {
			t.Errorf("%s fails: the manifest is neither committed nor aborted", fail)
		}
		late := []string{"commit a", "commit manifest", "take a", "close a"}
		if w.did("commit a") != slices.Contains(late, fail) || w.did("close a") != (fail != "open a") {
			t.Errorf("%s fails: %q", fail, w.events)
		}
	}
}

func TestRunInterrupted(t *testing.T) {
	for stop, want := range map[string]string{
		"open a":         "interrupted while reading: target is as it was",
		"plan a":         "interrupted while planning: target is as it was",
		"list a":         "interrupted while planning: target is as it was",
		"write manifest": "interrupted while planning: target is as it was",
		"prepare a":      "interrupted while planning: target is as it was",
		"commit a":       "interrupted while writing: target is as it was",
	} {
		w, ctx := newWorld(t)
		w.stop = stop
		op, f := operation(t, w)
		err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return w.do("take a") })
		if !errors.Is(err, errInterrupted) || err.Error() != want || f.state == "committed" || w.did("take a") || stop != "commit a" && w.did("commit a") {
			t.Errorf("%s: %v, the manifest is %q, %q", stop, err, f.state, w.events)
		}
	}
}

// TestRunStream: of standard output nobody can say that it is as it was.
func TestRunStream(t *testing.T) {
	w, ctx := newWorld(t)
	w.stop = "commit a"
	op, _ := operation(t, w)
	op.Stream = true
	err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return nil })
	if err == nil || err.Error() != "interrupted" {
		t.Error(err)
	}
}

func TestDryRun(t *testing.T) {
	for _, lacking := range []bool{false, true} {
		w, ctx := newWorld(t)
		w.signed = lacking
		op, f := operation(t, w)
		op.DryRun = true
		op.Finish = func(context.Context, operate.Totals) error { return w.do("finish") }
		if err := operate.Run(ctx, w.unit("a"), op, func(o *operate.Outcome) error { return w.do("take a") }); err != nil {
			t.Error(err)
		}
		if _, err := operate.Each(ctx, 1, operate.Of(w.units("b")), true, op, func(o *operate.Outcome) error { return w.do("take b") }); err != nil {
			t.Error(err)
		}
		for _, event := range []string{"prepare a", "take a", "prepare b", "take b", "finish", "commit manifest"} {
			if !w.did(event) {
				t.Errorf("no %s: %q", event, w.events)
			}
		}
		if w.did("commit a") || w.did("commit b") || f.state != "committed" {
			t.Errorf("%q", w.events)
		}
		w.fail = "prepare a"
		if err := operate.Run(ctx, w.unit("a"), op, nil); !errors.Is(err, errBoom) {
			t.Error(err)
		}
	}
}

func TestPlanWithoutKeyIsRefused(t *testing.T) {
	w, ctx := newWorld(t)
	w.signed = true
	op, _ := operation(t, w)
	err := operate.Run(ctx, w.unit("a"), op, nil)
	if !errors.Is(err, signing.ErrUnsignedPlan) || w.did("prepare a") {
		t.Errorf("%v: %q", err, w.events)
	}
}

func TestSelect(t *testing.T) {
	w, ctx := newWorld(t)
	op, _ := operation(t, w)
	op.Select = func(signing.Source) signing.Source { return none{} }
	err := operate.Run(ctx, w.unit("a"), op, func(o *operate.Outcome) error {
		if o.Change.Any || o.Plan.Counts().Hashed != 0 {
			t.Errorf("%+v", o.Plan.Counts())
		}
		return nil
	})
	if err != nil || w.did("list a") {
		t.Errorf("%v: %q", err, w.events)
	}
}

type none struct{}

func (none) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(func(signing.Entry, error) bool) {}
}

// links has a symbolic link that cannot be read.
type links struct{}

func (links) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		yield(signing.Entry{Path: "link", Reason: "symlink", Mode: fs.ModeSymlink, Readlink: func() (string, error) { return "", errBoom }}, nil)
	}
}

// TestLinksAreReadForAManifest: nothing else needs their targets.
func TestLinksAreReadForAManifest(t *testing.T) {
	w, ctx := newWorld(t)
	op, _ := operation(t, w)
	op.Select = func(signing.Source) signing.Source { return links{} }
	if err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return nil }); !errors.Is(err, errBoom) {
		t.Errorf("with a manifest: %v", err)
	}
	op.Manifest = nil
	if err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return nil }); err != nil {
		t.Errorf("without: %v", err)
	}
}

// beside is a Companion that counts.
type beside struct{ commits int }

func (b *beside) Commit() error { b.commits++; return nil }

// TestReceipts checks that receipts appear when the manifest does, also if there is none.
func TestReceipts(t *testing.T) {
	for fail, want := range map[string]int{"": 1, "plan a": 0, "commit a": 0} {
		for _, manifest := range []bool{true, false} {
			w, ctx := newWorld(t)
			w.fail = fail
			op, _ := operation(t, w)
			b := &beside{}
			if op.Receipts = b; !manifest {
				op.Manifest = nil
			}
			err := operate.Run(ctx, w.unit("a"), op, func(*operate.Outcome) error { return nil })
			if (err == nil) != (want == 1) || b.commits != want {
				t.Errorf("Run, %q: %d, %v", fail, b.commits, err)
			}
			b.commits = 0
			list := func(yield func(operate.Unit, error) bool) { yield(w.unit("a"), nil) }
			if _, _ = operate.Each(ctx, 1, operate.Of(list), false, op, func(*operate.Outcome) error { return nil }); b.commits != want {
				t.Errorf("Each, %q: %d", fail, b.commits)
			}
		}
	}
}

func TestSkip(t *testing.T) {
	w, ctx := newWorld(t)
	op, f := operation(t, w)
	u := w.unit("a")
	u.Open = func(context.Context) (operate.Opened, error) {
		return operate.Opened{Container: fake{w, "a"}, Name: "a", Skip: "source"}, nil
	}
	list := func(yield func(operate.Unit, error) bool) { yield(u, nil) }
	totals, err := operate.Each(ctx, 1, operate.Of(list), false, op, func(o *operate.Outcome) error {
		if o.Skip != "source" || o.Plan.Counts() != (signing.Counts{}) {
			t.Errorf("%+v", o)
		}
		return nil
	})
	if err != nil || w.did("plan a") || !w.did("commit a") || totals != (operate.Totals{Units: 1, Skipped: 1}) || f.Len() > 0 || f.state != "committed" {
		t.Errorf("%v %+v %q", err, totals, w.events)
	}
}

func TestInstead(t *testing.T) {
	for _, fail := range []string{"", "open a", "plan a"} {
		w, ctx := newWorld(t)
		w.fail = fail
		op, _ := operation(t, w)
		u := w.unit("a")
		u.Instead = w.unit("b").Open
		name := "b"
		if fail == "" {
			name = "a"
		}
		err := operate.Run(ctx, u, op, func(o *operate.Outcome) error {
			if o.Name != name || o.Unit.Path != "a" {
				t.Errorf("%s fails: %+v", fail, o)
			}
			return nil
		})
		if err != nil || !w.did("commit "+name) || w.did("open b") != (name == "b") {
			t.Errorf("%s fails: %v: %q", fail, err, w.events)
		}
	}
}

// TestPlanIsClosed: plans are open for take, and no longer.
func TestPlanIsClosed(t *testing.T) {
	w, ctx := newWorld(t)
	w.path = strings.Repeat("p", 2<<20) // more than a plan keeps in memory
	op, _ := operation(t, w)
	op.Manifest = nil // whose lines are shorter
	count := func(p *signing.Plan) (n int, err error) {
		for _, err := range p.Records() {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	var plans []*signing.Plan
	take := func(o *operate.Outcome) error {
		plans = append(plans, o.Plan)
		if n, err := count(o.Plan); n != 1 || err != nil {
			t.Error(n, err)
		}
		return nil
	}
	_, err := operate.Each(ctx, 1, operate.Of(w.units("a")), false, op, take)
	if err = errors.Join(err, operate.Run(ctx, w.unit("b"), op, take)); err != nil || len(plans) != 2 {
		t.Fatal(err, len(plans))
	}
	for _, p := range plans {
		if _, err := count(p); err == nil {
			t.Error("a plan is still open")
		}
	}
}
