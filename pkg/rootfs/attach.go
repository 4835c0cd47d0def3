package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tree"
)

var _ signing.Sink = (*Tree)(nil)

// Attach sets what the plan says. Each file must be in the very state in which it
// was planned (tree.ErrChanged), owner, times and content untouched since. After
// an error, and when ctx is cancelled, the xattrs recorded in the plan are put
// back and the error wraps ErrRestored; if that fails as well, the error names
// the files.
func (t *Tree) Attach(ctx context.Context, plan *signing.Plan) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	t.observe.Tell(signing.Event{Kind: signing.Attaching, Entries: plan.Counts().Pending()})
	touched := 0
	var failed error
	for r, err := range plan.Records() {
		if err == nil && r.Pending() {
			if err = context.Cause(ctx); err == nil {
				touched++
				err = t.attach(&r)
				t.observe.Tell(signing.Event{Kind: signing.Attached, Path: r.Path, Entries: 1})
			}
		}
		if err != nil {
			failed = err
			break
		}
	}
	if failed == nil {
		return nil
	}
	return t.restore(plan, touched, failed)
}

func (t *Tree) attach(r *signing.Record) (err error) {
	f, err := t.reopen(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, name := range names(r.Values) {
		if err := set(f, name, r.Values[name]); err != nil {
			return err
		}
	}
	return nil
}

// reopen opens the record's file and holds that it is the one that was planned.
func (t *Tree) reopen(r *signing.Record) (*os.File, error) {
	return t.openAs(r, tree.Stamp.Check)
}

func (t *Tree) openAs(r *signing.Record, check func(planned, now tree.Stamp) error) (*os.File, error) {
	var planned tree.Stamp
	if err := planned.UnmarshalBinary(r.Token); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", t.tree.Name(r.Path), err)
	}
	f, err := t.tree.Open(r.Path)
	if err != nil {
		return nil, err
	}
	now, err := tree.StampOf(f)
	if err == nil {
		err = check(planned, now)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attach to %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// set sets one xattr, or removes it for a nil value.
func set(f *os.File, name string, value []byte) error {
	var err error
	if value == nil {
		if err = xattr.FRemove(f, name); errors.Is(err, xattr.ENOATTR) {
			err = nil
		}
	} else {
		err = xattr.FSet(f, name, value)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("set %s of %s: %w: its %d bytes find no room beside the inode; smaller signatures (P-256), larger inodes (mkfs.ext4 -I 512) or -O ea_inode help", name, f.Name(), cause(err), len(value))
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("set %s of %s: %w: is the file immutable (lsattr)?", name, f.Name(), cause(err))
	}
	return fmt.Errorf("set %s of %s: %w", name, f.Name(), cause(err))
}

// restore puts back what the first touched records had before.
func (t *Tree) restore(plan *signing.Plan, touched int, failed error) error {
	t.observe.Tell(signing.Event{Kind: signing.Restoring, Entries: int64(touched)})
	var left []error
	for r, err := range plan.Records() {
		if touched == 0 {
			break
		}
		if err == nil && r.Pending() {
			touched--
			err = t.putBack(&r)
			t.observe.Tell(signing.Event{Kind: signing.Restored, Path: r.Path, Entries: 1})
		}
		if err != nil {
			left = append(left, err)
		}
	}
	if len(left) == 0 {
		return fmt.Errorf("%w; %w", failed, ErrRestored)
	}
	return fmt.Errorf("%w; %d files could not be restored and keep what was attached: %w", failed, len(left), errors.Join(left...))
}

// putBack restores one file: its inode must still be the same, its state has
// changed with what was attached. A file that was replaced was never attached to.
func (t *Tree) putBack(r *signing.Record) (err error) {
	f, err := t.openAs(r, func(planned, now tree.Stamp) error {
		if !planned.SameInode(now) {
			return tree.ErrChanged
		}
		return nil
	})
	if errors.Is(err, tree.ErrChanged) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, name := range names(r.Values) {
		if err := set(f, name, r.Xattrs[name]); err != nil {
			return err
		}
	}
	return nil
}

// names returns the keys in their order: security.evm goes before security.ima,
// whatever happens in between leaves a file that EVM refuses rather than one that
// is half right.
func names(values map[string][]byte) []string {
	var out []string
	for name := range values {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
