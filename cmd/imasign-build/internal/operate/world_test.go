package operate_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var (
	errBoom        = errors.New("boom")
	errInterrupted = errors.New("interrupted")
)

// world notes what is done to the fake containers.
type world struct {
	mu     sync.Mutex
	events []string
	fail   string             // the event that fails, as "commit b"
	stop   string             // the event at which ctx is cancelled
	cancel context.CancelFunc // of ctx
	path   string             // of each container's file; "" for file
	signed bool               // plans lack signatures, as without a key
}

func (w *world) do(event string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
	if event == w.stop {
		w.cancel()
	}
	if event == w.fail {
		return errBoom
	}
	return nil
}

func (w *world) did(event string) bool { return slices.Contains(w.events, event) }

// fake is a container of one file.
type fake struct {
	*world

	name string
}

func (f fake) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		err := f.do("list " + f.name)
		yield(signing.Entry{Path: cmp.Or(f.path, "file"), Size: 4, HashOnly: !f.signed, Open: func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(strings.NewReader(f.name))}, nil
		}}, err)
	}
}

func (f fake) Prepare(ctx context.Context, p *signing.Plan) (*signing.Change, error) {
	if err := f.do("prepare " + f.name); err != nil {
		return nil, err
	}
	return &signing.Change{Any: p.Counts().Pending() > 0, Grows: 10, Commit: func(ctx context.Context) error {
		return errors.Join(f.do("commit "+f.name), context.Cause(ctx))
	}}, context.Cause(ctx)
}

func (f fake) Close() error { return f.do("close " + f.name) }

func (w *world) unit(name string) operate.Unit {
	return operate.Unit{Path: name, Kind: manifest.Archive, Open: func(ctx context.Context) (operate.Opened, error) {
		if err := w.do("open " + name); err != nil {
			return operate.Opened{}, err
		}
		return operate.Opened{Container: fake{w, name}, Name: name}, context.Cause(ctx)
	}}
}

func (w *world) units(names ...string) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for _, n := range names {
			if !yield(w.unit(n), nil) {
				return
			}
		}
	}
}

// file is a manifest that is told by its state.
type file struct {
	bytes.Buffer
	*world

	state string
}

func (f *file) Write(b []byte) (int, error) {
	if err := f.do("write manifest"); err != nil {
		return 0, err
	}
	return f.Buffer.Write(b)
}

func (f *file) Commit() error {
	if err := f.do("commit manifest"); err != nil {
		return err
	}
	f.state = "committed"
	return nil
}

func (f *file) Abort() {
	if f.state == "" {
		f.state = "aborted"
	}
}

func operation(t *testing.T, w *world) (*operate.Operation, *file) {
	t.Helper()
	engine, err := signing.New(signing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &file{world: w}
	return &operate.Operation{
		Plan: func(ctx context.Context, name string, src signing.Source) (*signing.Plan, error) {
			if err := w.do("plan " + name); err != nil {
				return nil, err
			}
			return engine.Plan(ctx, src)
		},
		Manifest: &operate.Manifest{Create: func() (operate.File, error) { return f, w.do("create manifest") }},
		Target:   "target",
	}, f
}

func newWorld(t *testing.T) (*world, context.Context) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	return &world{cancel: func() { cancel(errInterrupted) }}, ctx
}
