package rpmsign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMakeOutputDirs(t *testing.T) {
	dir := t.TempDir()
	check(t, MakeOutputDirs([]Unit{{Path: "a", Output: dir + "/x/y/a"}, {Path: "b", Output: dir + "/x/b"}, {Path: "c"}}))
	if got := names(t, dir+"/x"); got != "y" {
		t.Error(got)
	}
	check(t, os.WriteFile(dir+"/file", nil, 0o644))
	if err := MakeOutputDirs([]Unit{{Path: "a", Output: dir + "/file/a"}}); err == nil {
		t.Error("a directory below a file")
	}
}

func numbered(n int) (units []Unit) {
	for i := range n {
		units = append(units, Unit{Path: fmt.Sprint(i)})
	}
	return units
}

// settled waits until as few goroutines are there as before.
func settled(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestEachKeepsTheOrder(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, jobs := range []int{0, 1, 2, 7, 1000} {
		next, under, most := 0, atomic.Int32{}, atomic.Int32{}
		err := Each(t.Context(), jobs, numbered(200), func(_ context.Context, u Unit) string {
			n := under.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			if len(u.Path) == 1 {
				time.Sleep(2 * time.Millisecond) // the first ones end last
			}
			under.Add(-1)
			return u.Path
		}, func(path string) error {
			if path != fmt.Sprint(next) {
				t.Errorf("%d jobs: %s instead of %d", jobs, path, next)
			}
			next++
			return nil
		})
		if err != nil || next != 200 || int(most.Load()) > max(1, jobs) {
			t.Errorf("%d jobs: %v, %d results, %d at a time", jobs, err, next, most.Load())
		}
	}
	check(t, Each(t.Context(), 2, nil, func(context.Context, Unit) int { return 0 }, func(int) error { return nil }))
	settled(t, before)
}

// TestEachDrains: when the context ends, what is under way ends and is taken, and
// nothing else begins.
func TestEachDrains(t *testing.T) {
	before := runtime.NumGoroutine()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	var begun, taken atomic.Int32
	err := Each(ctx, 2, numbered(1000), func(ctx context.Context, u Unit) string {
		begun.Add(1)
		if u.Path == "5" {
			cancel(stop)
			<-ctx.Done()
		}
		return u.Path
	}, func(string) error {
		taken.Add(1)
		return nil
	})
	if !errors.Is(err, stop) || begun.Load() != taken.Load() || begun.Load() > 20 {
		t.Errorf("%v: %d begun, %d taken", err, begun.Load(), taken.Load())
	}
	settled(t, before)
}

func TestEachEndsWithErrorsOfTake(t *testing.T) {
	before := runtime.NumGoroutine()
	stop := errors.New("stop")
	var begun atomic.Int32
	taken := 0
	err := Each(t.Context(), 3, numbered(1000), func(context.Context, Unit) int {
		begun.Add(1)
		return 0
	}, func(int) error {
		if taken++; taken == 4 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || taken != 4 || begun.Load() > 100 {
		t.Errorf("%v: %d begun, %d taken", err, begun.Load(), taken)
	}
	settled(t, before)
}

// TestEachSigns packages side by side, some of which are none.
func TestEachSigns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"zstd", "xz", "rich", "source", "empty"} {
		packages.Copy(t, name, dir)
	}
	check(t, os.WriteFile(filepath.Join(dir, "zz.rpm"), []byte("text"), 0o644))
	check(t, os.Truncate(filepath.Join(dir, filepath.Base(packages.Path(t, "xz"))), 5000))
	units, err := FindUnits([]string{dir}, "")
	check(t, err)
	var said []string
	check(t, Each(t.Context(), 3, units, signer(t, "p256").Run, func(r Result) error {
		said = append(said, fmt.Sprintf("%s changed=%t source=%t truncated=%t other=%t", r.Name, r.Changed, r.Source, errors.Is(r.Err, ErrTruncated), errors.Is(r.Err, ErrNotRPM)))
		return nil
	}))
	want := []string{
		"imatest-empty-1.0-1.noarch changed=false source=false truncated=false other=false",
		"imatest-rich-2.0-1.x86_64 changed=true source=false truncated=false other=false",
		"imatest-source-1.0-1.src changed=false source=true truncated=false other=false",
		" changed=false source=false truncated=true other=false",
		"imatest-zstd-1.0-1.x86_64 changed=true source=false truncated=false other=false",
		" changed=false source=false truncated=false other=true",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%s", strings.Join(said, "\n"))
	}
}

// TestUnsignedPlan: without a key a run plans, and writes nothing.
func TestUnsignedPlan(t *testing.T) {
	e, err := signing.New(signing.Options{})
	check(t, err)
	path := packages.Copy(t, "zstd", t.TempDir())
	before := content(t, path)
	s := Signing{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
	r := run(t, &s, path)
	if !r.Changed || r.Counts.Signed != 4 || string(before) != string(content(t, path)) {
		t.Errorf("%+v", r)
	}
}
