package rootfs

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/signing"
)

func TestPrepareRefuses(t *testing.T) {
	dir, below := t.TempDir(), t.TempDir()
	write(t, dir, "f")
	mount(t, dir, below, "", unix.MS_BIND, "")
	ok(t, unix.Mount("", below, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	tr := openTree(t, below, Options{})
	plan := planFor(t, tr)
	was := snapshot(t, dir, true)
	if change, err := tr.Prepare(t.Context(), plan); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%+v, %v", change, err)
	}
	same(t, "the tree", was, snapshot(t, dir, true))

	detached := &Detached{Tree: tr}
	change, err := detached.Prepare(t.Context(), plan)
	if ok(t, err); change.Any || change.Commit != nil {
		t.Errorf("%+v", change)
	}
}

func TestPrepareTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f")
	tr := openTree(t, dir, Options{})
	was := snapshot(t, dir, true)
	change, err := tr.Prepare(t.Context(), planFor(t, tr))
	if ok(t, err); !change.Any || change.Commit == nil {
		t.Fatalf("%+v", change)
	}
	same(t, "the tree", was, snapshot(t, dir, true))
	ok(t, change.Commit(t.Context()))
	if change, err = tr.Prepare(t.Context(), planFor(t, tr)); err != nil || change.Any || change.Commit != nil {
		t.Errorf("signed again: %+v, %v", change, err)
	}
}

// TestPrepareWithoutKey checks that a dry run without a key needs no permission.
func TestPrepareWithoutKey(t *testing.T) {
	dir := t.TempDir()
	mount(t, "ramfs", dir, "ramfs", 0, "")
	write(t, dir, "f")
	tr := openTree(t, dir, Options{})
	e, err := signing.New(signing.Options{})
	ok(t, err)
	plan, err := e.Plan(t.Context(), tr)
	ok(t, err)
	defer plan.Close()
	change, err := tr.Prepare(t.Context(), plan)
	if ok(t, err); !change.Any {
		t.Errorf("%+v", change)
	}
	if err := change.Commit(t.Context()); !errors.Is(err, signing.ErrUnsignedPlan) {
		t.Error(err)
	}
}

func TestDetached(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f")
	tr := openTree(t, dir, Options{})
	was := snapshot(t, dir, true)
	var b bytes.Buffer
	detached := &Detached{Tree: tr, Output: func(write func(io.Writer) error) error { return write(&b) }}
	change, err := detached.Prepare(t.Context(), planFor(t, tr))
	if ok(t, err); !change.Any || b.Len() > 0 {
		t.Fatalf("%+v, %q", change, &b)
	}
	ok(t, change.Commit(t.Context()))
	same(t, "the tree", was, snapshot(t, dir, true))
	if !strings.HasPrefix(b.String(), "# file: f\nsecurity.ima=0x03") {
		t.Errorf("%q", &b)
	}
}
