package rootfs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Prepare refuses a tree in which nothing can be set (Probe), and touches nothing.
// Committing the change sets what the plan says. Each file must be in the very state in
// which it was planned, owner, times and content untouched since. After an error, and
// when ctx is cancelled, the xattrs recorded in the plan are put back and the error says
// so; if that fails as well, the error names the files.
func (t *Tree) Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error) {
	if plan.Counts().Pending() == 0 {
		return &signing.Change{}, nil
	}
	if plan.Attachable() == nil && !t.probed {
		if err := t.Probe(ctx); err != nil {
			return nil, err
		}
	}
	return &signing.Change{Any: true, Commit: func(ctx context.Context) error { return t.commit(ctx, plan) }}, nil
}

func (t *Tree) commit(ctx context.Context, plan *signing.Plan) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	unlock, err := t.tree.Lock()
	if err != nil {
		return fmt.Errorf("attach to %w: nothing was changed", err)
	}
	defer unlock()
	t.observe.Tell(signing.Event{Kind: signing.Attaching, Entries: plan.Counts().Pending()})
	done := attached{moved: map[int]tree.Stamp{}}
	var failed atomic.Bool // what is not begun yet would only have to be restored
	worker := func() func(context.Context, pending) attachment {
		return func(_ context.Context, p pending) attachment {
			if failed.Load() {
				return attachment{pending: p}
			}
			a := t.attach(p)
			if a.err != nil {
				failed.Store(true)
			} else {
				t.observe.Tell(signing.Event{Kind: signing.Attached, Path: a.record.Path, Entries: 1})
			}
			return a
		}
	}
	err = pipeline.Ordered(ctx, t.parallel(), maxPending, pendingOf(plan), worker, func(a attachment) error {
		done.note(&a)
		return a.err
	})
	if err != nil {
		return t.restore(plan, &done, err)
	}
	return nil
}

// maxPending is how many files are attached to at once and waiting to be.
const maxPending = 256

// parallel is how many files are attached to at a time. What is pretended is kept by
// one process, which answers one call after the other.
func (t *Tree) parallel() int {
	if t.tree.Preload() != "" {
		return 1
	}
	return t.jobs
}

// pending is a record that changes something, numbered among those that do.
type pending struct {
	nth    int
	record signing.Record
}

func pendingOf(plan *signing.Plan) iter.Seq2[pending, error] {
	return func(yield func(pending, error) bool) {
		nth := 0
		for r, err := range plan.Records() {
			if err == nil && !r.Pending() {
				continue
			}
			if !yield(pending{nth, r}, err) {
				return
			}
			nth++
		}
	}
}

// attachment is what became of a pending record.
type attachment struct {
	pending

	made  bool // something was attached, if perhaps not all
	moved bool // to another inode, whose state is now
	now   tree.Stamp
	err   error
}

// attached is what a restore has to know beyond the plan.
type attached struct {
	// files says of the plan's pending records, up to the last of them, which have
	// anything attached: one that was refused before that is not ours to restore.
	files []bool
	// moved are, by the records' index, the files that have another inode since.
	// overlayfs copies a file of a lower layer when it is changed.
	moved map[int]tree.Stamp
}

// note takes the attachments in order; some may be missing, which were not begun.
func (d *attached) note(a *attachment) {
	for len(d.files) < a.nth {
		d.files = append(d.files, false)
	}
	if d.files = append(d.files, a.made); a.moved {
		d.moved[a.record.Index] = a.now
	}
}

func (t *Tree) attach(p pending) attachment {
	a := attachment{pending: p}
	r := &a.record
	planned, err := t.planned(r)
	if err != nil {
		a.err = err
		return a
	}
	made, now, err := t.tree.ChangeXattrs(r.Path, planned, changes(r, r.Xattrs, attachedTo(r))...)
	a.made, a.err = made > 0, advise(err)
	switch {
	case errors.Is(err, tree.ErrChanged):
		a.err = fmt.Errorf("attach to %w", err)
	case err == nil && !now.SameInode(planned):
		if a.moved, a.now = true, now; r.Group != "" {
			a.err = fmt.Errorf("attach to %s: %w: sign the layer below, or mount with index=on", t.tree.Name(r.Path), ErrLinksSplit)
		}
	}
	return a
}

// planned is the state in which the record's file was planned.
func (t *Tree) planned(r *signing.Record) (tree.Stamp, error) {
	var stamp tree.Stamp
	if err := stamp.UnmarshalBinary(r.Token); err != nil {
		return stamp, fmt.Errorf("attach to %s: %w", t.tree.Name(r.Path), err)
	}
	return stamp, nil
}

// attachedTo returns what the xattrs that the record changes have afterwards.
func attachedTo(r *signing.Record) map[string][]byte {
	values := map[string][]byte{}
	for _, v := range r.Changes() {
		values[v.Form.Xattr] = v.Bytes
	}
	return values
}

// changes lists the record's changes in the order in which they are made, from one value
// to the other. security.evm goes before security.ima: whatever happens in between leaves
// a file that EVM refuses rather than one that is half right.
func changes(r *signing.Record, from, to map[string][]byte) (list []tree.XattrChange) {
	for _, v := range r.Changes() {
		name := v.Form.Xattr
		list = append(list, tree.XattrChange{Name: name, Old: from[name], New: to[name]})
	}
	slices.SortFunc(list, func(a, b tree.XattrChange) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// advise adds what to do about it.
func advise(err error) error {
	var failed *tree.XattrError
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("%w: its %d bytes find no room beside the inode; smaller signatures (P-256), larger inodes (mkfs.ext4 -I 512) or -O ea_inode help", err, failed.Size)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: is the file immutable (lsattr)?", err)
	}
	return err
}

// restore puts back what the files attached to had before.
func (t *Tree) restore(plan *signing.Plan, done *attached, failed error) error {
	t.observe.Tell(signing.Event{Kind: signing.Restoring, Entries: done.count()})
	left := t.putAllBack(plan, done, func(r *signing.Record) {
		t.observe.Tell(signing.Event{Kind: signing.Restored, Path: r.Path, Entries: 1})
	})
	if len(left) > 0 { // a value that found no room may find it where newer ones were removed
		left = t.putAllBack(plan, done, func(*signing.Record) {})
	}
	if len(left) == 0 {
		return fmt.Errorf("%w; %w", failed, errRestored)
	}
	return fmt.Errorf("%w; %d files could not be restored and keep what was attached: %w", failed, len(left), errors.Join(left...))
}

func (d *attached) count() (n int64) {
	for _, made := range d.files {
		if made {
			n++
		}
	}
	return n
}

func (t *Tree) putAllBack(plan *signing.Plan, done *attached, tell func(*signing.Record)) (left []error) {
	for p, err := range pendingOf(plan) {
		if p.nth == len(done.files) {
			break
		}
		if err == nil && done.files[p.nth] {
			err = t.putBack(&p.record, done)
			tell(&p.record)
		}
		if err != nil {
			left = append(left, err)
		}
	}
	return left
}

// putBack restores one file: its inode must still be the same, its state has
// changed with what was attached. A file that was replaced was never attached to,
// and a value that is not the one attached is somebody else's: inode numbers are
// reused, and another signer may have come in between.
func (t *Tree) putBack(r *signing.Record, done *attached) error {
	was, err := t.planned(r)
	if err != nil {
		return err
	}
	if moved, ok := done.moved[r.Index]; ok {
		was = moved
	}
	err = t.tree.RestoreXattrs(r.Path, was, changes(r, attachedTo(r), r.Xattrs)...)
	if errors.Is(err, tree.ErrChanged) || errors.Is(err, os.ErrNotExist) || errors.Is(err, tree.ErrNotFile) {
		return nil
	}
	return advise(err)
}
