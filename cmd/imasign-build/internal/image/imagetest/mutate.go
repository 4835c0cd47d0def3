package imagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/tests/imagetree"
)

const (
	maxTime    = time.Minute // of one mutation; it takes milliseconds
	maxMemory  = 96 << 20    // bytes of live memory at any time; 64 MiB and the largest blocks of a format
	maxAlloc   = 2 << 30     // bytes allocated by one mutation, in all
	maxContent = 256 << 20
)

// Mutate damages a small image, one mutation after another, and reads everything that is
// left: 50 mutations, or 500 with IMASIGN_NIGHTLY=1. A reader must not panic, hang or need
// much memory, and its errors must be those of package filesystem.
func Mutate[R filesystem.Reader](t *testing.T, open func(io.ReaderAt, int64) (R, error), image string) {
	t.Helper()
	base, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // so that garbage hardly counts
	whole := attempt(open, imagetree.Whole(base))
	if whole.err != nil {
		t.Fatalf("the image itself: %v", whole.err)
	}
	count := 50
	if imagetree.Full() {
		count = 500
	}
	var refused int
	worst := whole
	for seed := range count {
		m := imagetree.NewMutation(base, uint64(seed))
		o := attempt(open, m)
		for _, complaint := range o.complaints() {
			t.Errorf("mutation %d, %s: %s", seed, m, complaint)
		}
		if o.hung {
			t.FailNow() // it still runs
		}
		if o.err != nil {
			refused++
		}
		worst = outcome{elapsed: max(worst.elapsed, o.elapsed), memory: max(worst.memory, o.memory), allocated: max(worst.allocated, o.allocated)}
	}
	t.Logf("%d of %d mutations refused; at most %v, %d KiB of memory, %d KiB allocated", refused, count, worst.elapsed.Round(time.Millisecond), worst.memory>>10, worst.allocated>>10)
	if refused == 0 {
		t.Error("no mutation was noticed")
	}
}

// outcome of reading one image.
type outcome struct {
	err               error
	panicked          string
	hung              bool
	elapsed           time.Duration
	memory, allocated uint64 // bytes: the most at any time, and in all
}

func (o *outcome) complaints() (all []string) {
	known := func(target error) bool { return errors.Is(o.err, target) }
	switch {
	case o.panicked != "":
		all = append(all, "panic: "+o.panicked)
	case o.hung:
		stacks := make([]byte, 64<<10)
		all = append(all, fmt.Sprintf("not done after %v\n%s", maxTime, stacks[:runtime.Stack(stacks, true)]))
	case o.err != nil && !slices.ContainsFunc([]error{filesystem.ErrCorrupt, filesystem.ErrUnsupported, filesystem.ErrLimit}, known):
		all = append(all, fmt.Sprintf("an error that is none of package filesystem: %v", o.err))
	}
	if o.memory > maxMemory {
		all = append(all, fmt.Sprintf("%d MiB of memory", o.memory>>20))
	}
	if o.allocated > maxAlloc {
		all = append(all, fmt.Sprintf("%d MiB allocated", o.allocated>>20))
	}
	return all
}

// attempt reads everything in an image.
func attempt[R filesystem.Reader](open func(io.ReaderAt, int64) (R, error), m *imagetree.Mutation) outcome {
	runtime.GC()
	before, start := memory(), time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- o
		}()
		r, err := open(m, m.Size)
		if err == nil {
			_, err = list(ctx, r, maxContent)
		}
		o.err = err
	}()
	var most uint64
	sample := time.NewTicker(time.Millisecond)
	defer sample.Stop()
	for {
		select {
		case o := <-done:
			after := memory()
			most = max(most, after.live)
			o.elapsed, o.allocated, o.memory = time.Since(start), after.allocated-before.allocated, most-min(most, before.live)
			return o
		case <-sample.C:
			most = max(most, memory().live)
			if time.Since(start) > maxTime {
				return outcome{hung: true, elapsed: maxTime}
			}
		}
	}
}

// usage of memory, in bytes.
type usage struct{ live, allocated uint64 }

func memory() usage {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return usage{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}
