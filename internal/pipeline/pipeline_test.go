package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/internal/pipeline"
)

var errBroken = errors.New("broken")

// numbers lists 0 to n-1, and then fails with err.
func numbers(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

// same returns a worker that returns its items and counts them.
func same(begun *atomic.Int64) func() func(context.Context, int) int {
	return func() func(context.Context, int) int {
		return func(_ context.Context, i int) int {
			begun.Add(1)
			return i
		}
	}
}

func TestOrder(t *testing.T) {
	for _, jobs := range []int{0, 1, 7} {
		next := 0
		var begun atomic.Int64
		err := pipeline.Ordered(t.Context(), jobs, 16, numbers(20_000, nil), same(&begun), func(i int) error {
			if i != next {
				t.Fatalf("%d instead of %d", i, next)
			}
			next++
			return nil
		})
		if err != nil || next != 20_000 {
			t.Fatal(err, next)
		}
	}
}

func TestBegunIsTaken(t *testing.T) {
	for range 200 {
		var begun, taken atomic.Int64
		err := pipeline.Ordered(t.Context(), 4, 16, numbers(10_000, nil), same(&begun), func(i int) error {
			taken.Add(1)
			if i == 500 {
				return errBroken
			}
			return nil
		})
		if !errors.Is(err, errBroken) || begun.Load() != taken.Load() || begun.Load() > 600 {
			t.Fatal(err, begun.Load(), taken.Load())
		}
	}
}

func TestErrors(t *testing.T) {
	var begun atomic.Int64
	ignore := func(int) error { return nil }
	if err := pipeline.Ordered(t.Context(), 2, 4, numbers(10, errBroken), same(&begun), ignore); !errors.Is(err, errBroken) {
		t.Errorf("of the sequence: %v", err)
	}
	why := errors.New("the user's wish")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := pipeline.Ordered(ctx, 2, 4, numbers(1000, nil), same(&begun), func(i int) error {
		if i == 5 {
			cancel(why)
			return fmt.Errorf("what followed from it: %w", errBroken)
		}
		return nil
	})
	if !errors.Is(err, why) || errors.Is(err, errBroken) {
		t.Errorf("of the context: %v", err)
	}
}

func ExampleOrdered() {
	square := func() func(context.Context, int) int {
		return func(_ context.Context, i int) int { return i * i }
	}
	err := pipeline.Ordered(context.Background(), 0, 8, numbers(4, nil), square, func(i int) error {
		fmt.Println(i)
		return nil
	})
	fmt.Println(err)
	// Output:
	// 0
	// 1
	// 4
	// 9
	// <nil>
}

func BenchmarkOrdered(b *testing.B) {
	b.ReportAllocs()
	var begun atomic.Int64
	_ = pipeline.Ordered(b.Context(), 0, 1024, numbers(b.N, nil), same(&begun), func(int) error { return nil })
}
