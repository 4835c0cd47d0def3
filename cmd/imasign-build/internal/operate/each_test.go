package operate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/signing"
)

func letters(n int) (list []string) {
	for i := range n {
		list = append(list, string(rune('a'+i)))
	}
	return list
}

func TestEachAlone(t *testing.T) {
	for _, fail := range []string{"open c", "plan c", "list c", "prepare c", "commit c"} {
		w, ctx := newWorld(t)
		w.fail = fail
		op, f := operation(t, w)
		op.Finish = func(_ context.Context, totals operate.Totals) error {
			return w.do(fmt.Sprint("finish ", totals.Failed))
		}
		var taken []string
		totals, err := operate.Each(ctx, 3, operate.Of(w.units(letters(20)...)), false, op, func(o *operate.Outcome) error {
			taken = append(taken, o.Unit.Path)
			if failed := o.Err != nil; failed != (o.Unit.Path == "c") || failed && !errors.Is(o.Err, errBoom) {
				t.Errorf("%s: %s: %v", fail, o.Unit.Path, o.Err)
			}
			return nil
		})
		want := operate.Totals{Counts: signing.Counts{Hashed: 19, Bytes: 19}, Units: 20, Changed: 19, Failed: 1, Grows: 190}
		if err != nil || !slices.Equal(taken, letters(20)) || totals != want || !w.did("finish 1") {
			t.Errorf("%s: %v\n%q\n%+v", fail, err, taken, totals)
		}
		if f.state != "aborted" || w.did("commit manifest") {
			t.Errorf("%s: the manifest is %q although a unit failed", fail, f.state)
		}
	}
}

// TestEachEndsEarly: what was begun when a run ends for another reason has not failed.
func TestEachEndsEarly(t *testing.T) {
	w, ctx := newWorld(t)
	w.fail = "write manifest"
	op, f := operation(t, w)
	begun := w.unit("b")
	begun.Open = func(ctx context.Context) (operate.Opened, error) {
		<-ctx.Done()
		return operate.Opened{}, context.Cause(ctx)
	}
	list := func(yield func(operate.Unit, error) bool) {
		_ = yield(w.unit("a"), nil) && yield(begun, nil)
	}
	totals, err := operate.Each(ctx, 2, operate.Of(list), false, op, func(o *operate.Outcome) error {
		if o.Err != nil {
			t.Errorf("%s failed: %v", o.Unit.Path, o.Err)
		}
		return nil
	})
	if !errors.Is(err, errBoom) || totals.Failed != 0 || f.state == "committed" {
		t.Errorf("%v, %+v, the manifest is %q", err, totals, f.state)
	}
}

func TestEachDone(t *testing.T) {
	w, ctx := newWorld(t)
	op, f := operation(t, w)
	op.Finish = func(context.Context, operate.Totals) error { return w.do("finish") }
	totals, err := operate.Each(ctx, 4, operate.Of(w.units(letters(20)...)), false, op, func(*operate.Outcome) error { return nil })
	if err != nil || totals.Units != 20 || totals.Failed != 0 || f.state != "committed" {
		t.Fatal(err, totals, f.state)
	}
	if last := w.events[len(w.events)-2:]; !slices.Equal(last, []string{"finish", "commit manifest"}) {
		t.Errorf("the last are %q", last)
	}
	at := -1
	for _, name := range letters(20) {
		now := strings.Index(f.String(), `"name":"`+name+`"`)
		if now <= at {
			t.Fatalf("%s is not in its place of the manifest", name)
		}
		at = now
	}
}

func TestEachTogether(t *testing.T) {
	for fail, want := range map[string]string{
		"open c":         "boom",
		"plan c":         "c: boom\nnothing was changed",
		"prepare c":      "boom\nnothing was changed",
		"commit c":       "boom",
		"write manifest": "write the manifest: boom",
		"finish":         "boom",
		"take c":         "boom",
	} {
		for _, waiting := range []int{0, 4} {
			w, ctx := newWorld(t)
			w.fail = fail
			op, f := operation(t, w)
			op.Waiting = waiting
			op.Finish = func(context.Context, operate.Totals) error { return w.do("finish") }
			_, err := operate.Each(ctx, 1, operate.Of(w.units(letters(20)...)), true, op, func(o *operate.Outcome) error {
				if o.Err != nil {
					t.Errorf("%s fails: %s was taken: %v", fail, o.Unit.Path, o.Err)
				}
				return w.do("take " + o.Unit.Path)
			})
			if err == nil || err.Error() != want || f.state == "committed" {
				t.Errorf("%s fails: %v, the manifest is %q", fail, err, f.state)
			}
			if ended := fail != "finish"; w.did("take d") && ended && fail != "take c" || w.did("finish") == ended || waiting > 0 && ended && w.did("commit d") {
				t.Errorf("%s fails: %q", fail, w.events)
			}
			for _, unit := range letters(20) {
				if w.did("plan "+unit) && !w.did("close "+unit) {
					t.Errorf("%s fails: %s stays open: %q", fail, unit, w.events)
				}
			}
		}
	}
}

func TestEachInterrupted(t *testing.T) {
	for _, together := range []bool{false, true} {
		for stop, want := range map[string]string{
			"open c":    "interrupted while reading: target is as it was",
			"plan c":    "interrupted while planning: target is as it was",
			"prepare c": "interrupted while planning: target is as it was",
			"commit c":  "interrupted while writing: target is as it was",
			"take c":    "interrupted while",
			"finish":    "interrupted while writing: target is as it was",
		} {
			w, ctx := newWorld(t)
			w.stop = stop
			op, f := operation(t, w)
			op.Finish = func(ctx context.Context, _ operate.Totals) error {
				return errors.Join(w.do("finish"), context.Cause(ctx))
			}
			done := 0
			totals, err := operate.Each(ctx, 1, operate.Of(w.units(letters(26)...)), together, op, func(o *operate.Outcome) error {
				if o.Err == nil {
					done++
				}
				return w.do("take " + o.Unit.Path)
			})
			if !errors.Is(err, errInterrupted) || together && !strings.HasPrefix(err.Error(), want) || f.state == "committed" {
				t.Errorf("%s: %v, the manifest is %q", stop, err, f.state)
			}
			if totals.Units-totals.Failed != done || stop != "finish" && done == 26 {
				t.Errorf("%s: %d done, %+v", stop, done, totals)
			}
		}
	}
}

func TestEachListFails(t *testing.T) {
	w, ctx := newWorld(t)
	op, f := operation(t, w)
	list := func(yield func(operate.Unit, error) bool) {
		if yield(w.unit("a"), nil) {
			yield(operate.Unit{}, errBoom)
		}
	}
	_, err := operate.Each(ctx, 1, operate.Of(list), false, op, func(*operate.Outcome) error { return nil })
	if !errors.Is(err, errBoom) || f.state == "committed" {
		t.Error(err, f.state)
	}
}

// TestEachEndsLists: a list that waits for a unit ends if another one fails.
func TestEachEndsLists(t *testing.T) {
	for _, waiting := range []int{0, 4} {
		w, ctx := newWorld(t)
		w.fail = "plan a"
		op, _ := operation(t, w)
		op.Waiting = waiting
		list := func(ctx context.Context) iter.Seq2[operate.Unit, error] {
			return func(yield func(operate.Unit, error) bool) {
				if yield(w.unit("a"), nil) {
					<-ctx.Done()
				}
			}
		}
		_, err := operate.Each(ctx, 1, list, true, op, func(*operate.Outcome) error { return nil })
		if !errors.Is(err, errBoom) {
			t.Error(err)
		}
	}
}

// TestCopies: copies of one container are listed once, and others of its name refused.
func TestCopies(t *testing.T) {
	for _, content := range []string{"a", "b"} {
		w, ctx := newWorld(t)
		op, f := operation(t, w)
		op.Finish = nil
		var list iter.Seq2[operate.Unit, error] = func(yield func(operate.Unit, error) bool) {
			for _, of := range []string{"a", content} {
				u := w.unit(of)
				u.Path = "copy of " + of
				u.Open = func(context.Context) (operate.Opened, error) {
					return operate.Opened{Container: fake{w, of}, Name: "name"}, nil
				}
				if !yield(u, nil) {
					return
				}
			}
		}
		_, err := operate.Each(ctx, 1, operate.Of(list), false, op, func(*operate.Outcome) error { return nil })
		if same := content == "a"; same != (err == nil) || same != (f.state == "committed") {
			t.Errorf("a and %s: %v, the manifest is %q", content, err, f.state)
		}
		if content == "a" && strings.Count(f.String(), `"name":"name"`) != 1 {
			t.Error(f.String())
		}
	}
}

// guard is a Guard at which an interrupt comes or not.
type guard struct {
	*world

	interrupt bool
}

func (g guard) Hold()         { _ = g.do("hold") }
func (g guard) Release() bool { _ = g.do("release"); return g.interrupt }

func TestGuard(t *testing.T) {
	for _, live := range []bool{false, true} {
		for _, fail := range []string{"", "prepare a", "commit a"} {
			w, ctx := newWorld(t)
			w.fail = fail
			op, _ := operation(t, w)
			op.Guard = guard{w, true}
			u := w.unit("a")
			u.Live = live
			waited := false
			err := operate.Run(ctx, u, op, func(o *operate.Outcome) error { waited = o.Waited; return nil })
			if (err == nil) != (fail == "") || waited != (live && fail == "") {
				t.Errorf("%s fails: %v, %v", fail, err, waited)
			}
			held := live && fail != "prepare a"
			if w.did("hold") != held || w.did("release") != held {
				t.Errorf("%s fails: %q", fail, w.events)
			}
			if i := slices.Index(w.events, "commit a"); held && (w.events[i-1] != "hold" || w.events[i+1] != "release") {
				t.Errorf("%q", w.events)
			}
		}
	}
}

// TestGuardLate: an interrupt that came before the guard held is obeyed.
func TestGuardLate(t *testing.T) {
	w, ctx := newWorld(t)
	w.stop = "hold"
	op, _ := operation(t, w)
	op.Guard = guard{w, false}
	u := w.unit("a")
	u.Live = true
	err := operate.Run(ctx, u, op, nil)
	if err == nil || err.Error() != "interrupted while planning: target is as it was" || w.did("commit a") {
		t.Errorf("%v: %q", err, w.events)
	}
}

func TestLiveUndone(t *testing.T) {
	w, ctx := newWorld(t)
	w.stop, w.fail = "commit a", "commit a"
	op, _ := operation(t, w)
	u := w.unit("a")
	u.Live = true
	if err := operate.Run(ctx, u, op, nil); err == nil || strings.Contains(err.Error(), "as it was") || !errors.Is(err, errBoom) {
		t.Error(err)
	}
}

func TestInterruptedBefore(t *testing.T) {
	w, ctx := newWorld(t)
	op, _ := operation(t, w)
	if err := op.Interrupted(ctx, errBoom); !errors.Is(err, errBoom) {
		t.Error(err)
	}
	w.cancel()
	if err := op.Interrupted(ctx, errBoom); !errors.Is(err, errInterrupted) || err.Error() != "interrupted while reading: target is as it was" {
		t.Error(err)
	}
}
