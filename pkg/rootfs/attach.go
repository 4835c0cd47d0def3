package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Prepare refuses a tree in which nothing can be set (Probe), and touches nothing.
// Committing the change sets what the plan says. Each file must be in the very state in
// which it was planned (tree.ErrChanged), owner, times and content untouched since. After
// an error, and when ctx is cancelled, the xattrs recorded in the plan are put back and
// the error wraps ErrRestored; if that fails as well, the error names the files.
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
	for r, err := range plan.Records() {
		if err == nil && r.Pending() {
			if err = context.Cause(ctx); err == nil {
				err = t.attach(&r, &done)
			}
			if err == nil {
				t.observe.Tell(signing.Event{Kind: signing.Attached, Path: r.Path, Entries: 1})
			}
		}
		if err != nil {
			return t.restore(plan, &done, err)
		}
	}
	return nil
}

// attached is what a restore has to know beyond the plan.
type attached struct {
	// files is how many of the plan's pending records have anything attached, the
	// first ones: one that was refused before that is not ours to restore.
	files int
	// moved are, by the records' index, the files that have another inode since.
	// overlayfs copies a file of a lower layer when it is changed.
	moved map[int]tree.Stamp
}

func (t *Tree) attach(r *signing.Record, done *attached) error {
	planned, err := t.planned(r)
	if err != nil {
		return err
	}
	made, now, err := t.tree.ChangeXattrs(r.Path, planned, changes(r, r.Xattrs, attachedTo(r))...)
	if made > 0 {
		done.files++
	}
	if errors.Is(err, tree.ErrChanged) {
		return fmt.Errorf("attach to %w", err)
	}
	if err != nil || now.SameInode(planned) {
		return advise(err)
	}
	if done.moved[r.Index] = now; r.Group != "" {
		return fmt.Errorf("attach to %s: %w: sign the layer below, or mount with index=on", t.tree.Name(r.Path), ErrLinksSplit)
	}
	return nil
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
	t.observe.Tell(signing.Event{Kind: signing.Restoring, Entries: int64(done.files)})
	left := t.putAllBack(plan, done, func(r *signing.Record) {
		t.observe.Tell(signing.Event{Kind: signing.Restored, Path: r.Path, Entries: 1})
	})
	if len(left) > 0 { // a value that found no room may find it where newer ones were removed
		left = t.putAllBack(plan, done, func(*signing.Record) {})
	}
	if len(left) == 0 {
		return fmt.Errorf("%w; %w", failed, ErrRestored)
	}
	return fmt.Errorf("%w; %d files could not be restored and keep what was attached: %w", failed, len(left), errors.Join(left...))
}

func (t *Tree) putAllBack(plan *signing.Plan, done *attached, tell func(*signing.Record)) (left []error) {
	files := 0
	for r, err := range plan.Records() {
		if files == done.files {
			break
		}
		if err == nil && r.Pending() {
			files++
			err = t.putBack(&r, done)
			tell(&r)
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
