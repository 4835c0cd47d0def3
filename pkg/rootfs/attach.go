package rootfs

import (
	"bytes"
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

func (t *Tree) attach(r *signing.Record, done *attached) (err error) {
	f, planned, err := t.openPlanned(r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := planned.Check(planned.now); err != nil {
		return fmt.Errorf("attach to %s: %w", f.Name(), err)
	}
	for i, name := range names(r.Values) {
		if err := set(f, name, r.Xattrs[name], r.Values[name]); err != nil {
			return err
		}
		if i == 0 {
			done.files++
		}
	}
	now, err := tree.StampOf(f)
	if err != nil || now.SameInode(planned.Stamp) {
		return err
	}
	if done.moved[r.Index] = now; r.Same != "" {
		return fmt.Errorf("attach to %s: %w: sign the layer below, or mount with index=on", f.Name(), ErrLinksSplit)
	}
	return nil
}

// planned is the state in which a file was planned, and the one it is in now.
type planned struct {
	tree.Stamp
	now tree.Stamp
}

// openPlanned opens what is now at the record's path.
func (t *Tree) openPlanned(r *signing.Record) (*os.File, planned, error) {
	var p planned
	if err := p.UnmarshalBinary(r.Token); err != nil {
		return nil, p, fmt.Errorf("attach to %s: %w", t.tree.Name(r.Path), err)
	}
	f, err := t.tree.Open(r.Path)
	if err != nil {
		return nil, p, err
	}
	if p.now, err = tree.StampOf(f); err != nil {
		return nil, p, errors.Join(err, f.Close())
	}
	return f, p, nil
}

// set sets one xattr, or removes it for a nil value. was is what it is known to
// be, nil for absent: the kernel refuses where that is no longer so, and of two
// signers at work one gets an error.
func set(f *os.File, name string, was, value []byte) error {
	flags := xattr.XATTR_REPLACE
	if was == nil {
		flags = xattr.XATTR_CREATE
	}
	var err error
	if value != nil {
		err = xattr.FSetWithFlags(f, name, value, flags)
	} else if err = xattr.FRemove(f, name); errors.Is(err, xattr.ENOATTR) {
		err = nil
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("set %s of %s: %w: its %d bytes find no room beside the inode; smaller signatures (P-256), larger inodes (mkfs.ext4 -I 512) or -O ea_inode help", name, f.Name(), cause(err), len(value))
	case errors.Is(err, unix.EEXIST), errors.Is(err, xattr.ENOATTR):
		return fmt.Errorf("set %s of %s: %w: somebody else set or removed it", name, f.Name(), tree.ErrChanged)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("set %s of %s: %w: is the file immutable (lsattr)?", name, f.Name(), cause(err))
	}
	return fmt.Errorf("set %s of %s: %w", name, f.Name(), cause(err))
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
func (t *Tree) putBack(r *signing.Record, done *attached) (err error) {
	f, p, err := t.openPlanned(r)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, tree.ErrNotFile) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	was := p.Stamp
	if moved, ok := done.moved[r.Index]; ok {
		was = moved
	}
	if !was.SameInode(p.now) {
		return nil
	}
	for _, name := range names(r.Values) {
		if err := replace(f, name, r.Values[name], r.Xattrs[name]); err != nil {
			return err
		}
	}
	return nil
}

// replace sets an xattr to value if it is old; nil stands for one that is not there.
func replace(f *os.File, name string, old, value []byte) error {
	now, err := xattr.FGet(f, name)
	if err != nil && !errors.Is(err, xattr.ENOATTR) {
		return fmt.Errorf("read %s of %s: %w", name, f.Name(), cause(err))
	}
	if (now == nil) != (old == nil) || !bytes.Equal(now, old) {
		return nil
	}
	return set(f, name, now, value)
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
