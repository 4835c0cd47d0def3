// Package pipeline is ordered parallel work: a sequence is worked on by several
// goroutines, and the results come in the order of the sequence. What the work is, and
// how errors of single items are kept, is left to the callers.
package pipeline

import (
	"context"
	"iter"
	"sync"
)

// Ordered lists seq on one goroutine, works on its items on Jobs(jobs) others, and
// hands the results to take on the caller's goroutine, in the order of seq. At most
// window items are under way at once. worker is called once for each goroutine, to make
// the buffers that its function keeps.
//
// After an error of seq or of take, and after the end of ctx, no further item is begun.
// Each result of an item that was begun is handed to take all the same, so that results
// may own things to be closed. Ordered returns the cause of ctx if that ended first, and
// else the first error.
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

// place is an item with where its result goes.
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
			p.todo <- at // as large as order, which is emptied later: never blocks for long
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

// Of yields the items of a list, as Ordered takes them.
func Of[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}
