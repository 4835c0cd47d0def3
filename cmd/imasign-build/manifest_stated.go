package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

const (
	// waitingContainers is the number of containers of a manifest in progress with a slow key.
	waitingContainers = 64
	// waitingEntries limits the entries of these containers, and so the memory for them. Of a
	// container with more than largeContainer entries, only about as many are in memory.
	waitingEntries = 4 * largeContainer
	largeContainer = 2048
)

// statedUnits are the containers of a manifest, which is read once. The next container is listed
// when the lines of the one before have been read, which may still wait for its signatures.
type statedUnits struct {
	in      *manifest.Reader
	admit   func(manifest.Container) error // refuses containers
	observe signing.Observer
	room    *semaphore.Weighted // for waitingEntries
}

func newStatedUnits(in *manifest.Reader, admit func(manifest.Container) error, observe signing.Observer) *statedUnits {
	return &statedUnits{in, admit, observe, semaphore.NewWeighted(waitingEntries)}
}

// list lists the containers. What is wrong with the manifest is the error of a unit, so that it is
// reported after the errors of the containers before, however many are in progress.
func (s *statedUnits) list(ctx context.Context) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for {
			u, read, err := s.next(ctx)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				u.Open = func(context.Context) (operate.Opened, error) { return operate.Opened{}, err }
			}
			if !yield(u, nil) || err != nil {
				return
			}
			select {
			case <-read:
			case <-ctx.Done():
				return
			}
		}
	}
}

// next returns the unit of the next container, and a channel that is closed when its lines have
// been read. The error is io.EOF after the last container.
func (s *statedUnits) next(ctx context.Context) (u operate.Unit, read <-chan struct{}, err error) {
	header, err := s.in.Next()
	if err == nil {
		err = s.admit(header.Container)
	}
	if err != nil {
		return u, nil, err
	}
	entries := min(header.Entries, largeContainer)
	if err := s.room.Acquire(ctx, entries); err != nil {
		return u, nil, context.Cause(ctx)
	}
	switch header.Container {
	case manifest.Package, manifest.Digests, manifest.Layer: // there may be more of them
	default:
		s.observe.Tell(signing.Event{Kind: signing.Listed, Entries: header.Entries})
	}
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { close(ended) })
	lines := func(yield func(manifest.Line, error) bool) {
		for line, err := range s.in.Lines() {
			if !yield(line, err) {
				return
			}
		}
		end()
	}
	container := statedContainer{signing.Stated(lines), func() { s.room.Release(entries) }}
	u = operate.Unit{Path: header.Name, Kind: header.Container, Open: func(context.Context) (operate.Opened, error) {
		return operate.Opened{Container: container, Name: header.Name}, nil
	}}
	return u, ended, nil
}

// statedContainer exists only in its manifest.
type statedContainer struct {
	signing.Source

	leave func()
}

// Prepare returns an empty change: the plan is written to the new manifest.
func (statedContainer) Prepare(context.Context, *signing.Plan) (*signing.Change, error) {
	return &signing.Change{}, nil
}

// Close makes room for other containers.
func (c statedContainer) Close() error {
	c.leave()
	return nil
}
