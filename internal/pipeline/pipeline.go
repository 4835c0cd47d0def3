// Package pipeline processes the items of a sequence on several goroutines, and returns the
// results in the order of the sequence. Callers define the work, and keep the errors of
// single items in its results.
package pipeline

import (
	"context"
	"iter"
	"sync"
)

// Ordered lists seq on one goroutine, processes its items on Jobs(jobs) other goroutines, and
// calls take with the results in the order of seq, on the caller's goroutine. At most window
// items are in progress at the same time. worker is called once for each goroutine. It
// returns the function that processes items, which can keep buffers.
//
// After an error of seq or take, or after the end of ctx, no further item is begun. take is
// still called with the result of every item that was begun, so that it can close what the
// result owns. Ordered returns the cause of ctx if ctx has ended, or else the first error.
func Ordered[In, Out any](ctx context.Context, jobs, window int, seq iter.Seq2[In, error], worker func() func(context.Context, In) Out, take func(Out) error) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := ordered[In, Out]{cancel: cancel, order: make(chan place[In, Out], window), todo: make(chan place[In, Out], window)}
	var wg sync.WaitGroup
	wg.Go(func() { p.list(ctx, seq) })
	for range Jobs(jobs) {
		wg.Go(func() { p.work(ctx, worker()) })
	}
	for at := range p.order {
		if out, begun := <-at.out; begun {
			if err := take(out); err != nil {
				cancel(err)
			}
		}
	}
	wg.Wait()
	if outer.Err() != nil {
		return context.Cause(outer)
	}
	return context.Cause(ctx)
}

type ordered[In, Out any] struct {
	cancel      context.CancelCauseFunc
	order, todo chan place[In, Out]
}

// place is an item, and the channel of its result.
type place[In, Out any] struct {
	in  In
	out chan Out
}

func (p *ordered[In, Out]) list(ctx context.Context, seq iter.Seq2[In, error]) {
	defer close(p.order)
	defer close(p.todo)
	for in, err := range seq {
		if err != nil {
			p.cancel(err)
			return
		}
		at := place[In, Out]{in, make(chan Out, 1)}
		select {
		case p.order <- at:
			p.todo <- at // does not block for long: todo is as large as order and is emptied earlier
		case <-ctx.Done():
			return
		}
	}
}

func (p *ordered[In, Out]) work(ctx context.Context, work func(context.Context, In) Out) {
	for at := range p.todo {
		if ctx.Err() == nil {
			at.out <- work(ctx, at.in)
		}
		close(at.out)
	}
}

// Of returns a sequence of the items of a list, for Ordered.
func Of[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}
