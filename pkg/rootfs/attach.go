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

// Prepare returns the change that attaches the plan. It changes nothing. If the
// plan's xattrs cannot be set in the tree, it returns the error of [Tree.Probe]. If the
// largest of them have no room in their file system, the error wraps [ErrNoRoom].
//
// Commit sets the plan's xattrs. Each file must be in the same state as when it was
// planned, with the same owner, times and content. If there is an error, or ctx is
// cancelled, Commit restores the old xattrs, which the plan has recorded, and the error
// says so. If files cannot be restored, the error names them.
func (t *Tree) Prepare(ctx context.Context, plan *signing.Plan) (*signing.Change, error) {
	if plan.Counts().Pending() == 0 {
		return &signing.Change{}, nil
	}
	if plan.Attachable() == nil {
		if err := t.probeFor(ctx, plan); err != nil {
			return nil, err
		}
		if err := t.hasRoom(plan); err != nil {
			return nil, err
		}
	}
	return &signing.Change{Any: true, Commit: func(ctx context.Context) error { return t.commit(ctx, plan) }}, nil
}

// probeFor probes the xattrs that the plan changes, unless Probe has checked them.
func (t *Tree) probeFor(ctx context.Context, plan *signing.Plan) error {
	names := plan.Xattrs()
	if !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(t.probed, name) }) {
		return nil
	}
	return t.Probe(ctx, names...)
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
	var failed atomic.Bool // do not change further files, which would only have to be restored
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

// maxPending is the number of files that are being changed or wait for it.
const maxPending = 256

// parallel returns how many files are changed at the same time. Under pseudo or fakeroot
// it is 1, because one process stores the pretended xattrs and answers one call after the
// other.
func (t *Tree) parallel() int {
	if t.tree.Preload() != "" {
		return 1
	}
	return t.jobs
}

// pending is a record that changes something, and its number among such records.
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

// attachment is the result of attaching a pending record.
type attachment struct {
	pending

	made  bool // at least one xattr was set
	moved bool // the file has another inode now
	now   tree.Stamp
	err   error
}

// attached is what a restore needs to know in addition to the plan.
type attached struct {
	// files says for each pending record, up to the last one changed, whether any of its
	// xattrs was set. Files that were refused must not be restored.
	files []bool
	// moved has, by the record's index, the new state of files that have another inode
	// since: overlayfs copies a file of a lower layer when it is changed.
	moved map[int]tree.Stamp
}

// note records the attachments, which come in order. Those that were not begun are missing.
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

// planned returns the state in which the record's file was planned.
func (t *Tree) planned(r *signing.Record) (tree.Stamp, error) {
	var stamp tree.Stamp
	if err := stamp.UnmarshalBinary(r.Token); err != nil {
		return stamp, fmt.Errorf("attach to %s: %w", t.tree.Name(r.Path), err)
	}
	return stamp, nil
}

// attachedTo returns the new values of the xattrs that the record changes.
func attachedTo(r *signing.Record) map[string][]byte {
	values := map[string][]byte{}
	for _, v := range r.Changes() {
		values[v.Form.Xattr] = v.Bytes
	}
	return values
}

// changes lists the record's changes, from the values in from to the values in to, in the
// order in which they are made. security.evm comes before security.ima: if the process
// ends in between, EVM refuses the file, which is better than a file that is half right.
func changes(r *signing.Record, from, to map[string][]byte) (list []tree.XattrChange) {
	for _, v := range r.Changes() {
		name := v.Form.Xattr
		list = append(list, tree.XattrChange{Name: name, Old: from[name], New: to[name]})
	}
	slices.SortFunc(list, func(a, b tree.XattrChange) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// advise adds to an error what the user can do.
func advise(err error) error {
	var failed *tree.XattrError
	if !errors.As(err, &failed) {
		return err
	}
	switch {
	case lacksRoom(err):
		return fmt.Errorf("%w: there is no room for its %d bytes: use smaller signatures (P-256), larger inodes (mkfs.ext4 -I 512) or mkfs.ext4 -O ea_inode", err, failed.Size)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: is the file immutable (lsattr)?", err)
	}
	return err
}

// restore sets the old xattrs of the changed files, and returns failed with the result.
func (t *Tree) restore(plan *signing.Plan, done *attached, failed error) error {
	t.observe.Tell(signing.Event{Kind: signing.Restoring, Entries: done.count()})
	left := t.putAllBack(plan, done, func(r *signing.Record) {
		t.observe.Tell(signing.Event{Kind: signing.Restored, Path: r.Path, Entries: 1})
	})
	if len(left) > 0 { // there may be room now that new values of other files are removed
		left = t.putAllBack(plan, done, func(*signing.Record) {})
	}
	if len(left) == 0 {
		return fmt.Errorf("%w; %w", failed, errRestored)
	}
	return fmt.Errorf("%w; %d files could not be restored and keep their new xattrs: %w", failed, len(left), errors.Join(left...))
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

// putBack restores one file. Its inode must be the same as before, but its state may
// differ, because setting xattrs changed it. A file is left alone if it was replaced by
// another file since, or if its value is not the one that was attached: then somebody else
// set it. Comparing the inode is not enough, because inode numbers are reused and another
// signer may have set a value.
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
