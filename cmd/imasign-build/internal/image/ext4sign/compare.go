package ext4sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

// placed is a record of a plan, and the file that it is about.
type placed struct {
	record signing.Record
	node   filesystem.Node
	mount  int
}

// placed yields the records of a plan with their files. A plan lists the files in the
// order of the walk.
func (c *Copy) placed(ctx context.Context, plan *signing.Plan) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		next, stop := iter.Pull2(c.Walk(ctx))
		defer stop()
		for r, err := range plan.Records() {
			p := placed{record: r}
			if err == nil {
				p.node, err, _ = next()
			}
			if err == nil && p.node.Path != r.Path {
				err = errors.New("the plan is for another image")
			}
			for k := range c.mounts {
				if c.mounts[k].FileSystem == p.node.Reader {
					p.mount = k
				}
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// inode identifies an inode with several names.
type inode struct {
	mount int
	id    filesystem.ID
}

// pair is a file of the image, that of the copy, and what the plan changes.
type pair struct {
	before, after filesystem.Node
	values        map[string][]byte // of the xattrs that change
	further       bool              // name of an inode whose content was compared
	pending       bool
}

// compare compares the copy in a file with the image, after the plan. Each file must have
// the values of the plan. Nothing else may differ.
func (c *Copy) compare(ctx context.Context, plan *signing.Plan, file *os.File) error {
	copied, err := c.image.Of(file).Source(c.chosen, c.o.Walk)
	if err != nil {
		return err
	}
	for k, r := range copied.Readers() {
		before := c.mounts[k].FileSystem
		root := pair{before: filesystem.Node{Reader: before, ID: before.Root()}, after: filesystem.Node{Reader: r, ID: r.Root()}, further: true}
		if root.before.Inode, err = before.Inode(before.Root()); err != nil {
			return err
		}
		if root.after.Inode, err = r.Inode(r.Root()); err != nil {
			return err
		}
		if err := root.compare(nil, nil); err != nil {
			return fmt.Errorf("the root directory: %w", err)
		}
	}
	pairs, err := c.pairs(ctx, plan, copied.Walk(ctx))
	if err != nil {
		return err
	}
	worker := func() func(context.Context, pair) pairResult {
		a, b := make([]byte, compareStep), make([]byte, compareStep)
		return func(_ context.Context, p pair) pairResult { return pairResult{p, p.compare(a, b)} }
	}
	return pipeline.Ordered(ctx, c.o.Jobs, 4*pipeline.Jobs(c.o.Jobs), pairs, worker, func(r pairResult) error {
		if r.err != nil {
			return fmt.Errorf("%s: %w", quote.Name(r.before.Path), r.err)
		}
		if r.pending {
			c.o.Observe.Tell(signing.Event{Kind: signing.Attached, Path: r.before.Path, Entries: 1})
		}
		return nil
	})
}

type pairResult struct {
	pair

	err error
}

// pairs lists the files of the image with those of the copy.
func (c *Copy) pairs(ctx context.Context, plan *signing.Plan, copied iter.Seq2[filesystem.Node, error]) (iter.Seq2[pair, error], error) {
	linked, err := c.linked(ctx, plan)
	if err != nil {
		return nil, err
	}
	return func(yield func(pair, error) bool) {
		next, stop := iter.Pull2(copied)
		defer stop()
		compared := map[inode]bool{}
		for p, err := range c.placed(ctx, plan) {
			q := pair{before: p.node, pending: p.record.Pending()}
			if err == nil {
				q.after, err, _ = next()
			}
			if p.node.Links > 1 {
				key := inode{p.mount, p.node.ID}
				q.values, q.further, compared[key] = linked[key], compared[key], true
			} else if q.pending {
				q.values = changed(&p.record)
			}
			if !yield(q, err) || err != nil {
				return
			}
		}
		if more, err, _ := next(); err != nil || more.Path != "" {
			yield(pair{before: more}, errors.Join(err, errDiffers))
		}
	}, nil
}

// linked returns the values of inodes with several names. A plan attaches them to one name.
func (c *Copy) linked(ctx context.Context, plan *signing.Plan) (map[inode]map[string][]byte, error) {
	values := map[inode]map[string][]byte{}
	for p, err := range c.placed(ctx, plan) {
		if err != nil {
			return nil, err
		}
		if p.node.Links > 1 && p.record.Pending() {
			values[inode{p.mount, p.node.ID}] = changed(&p.record)
		}
	}
	return values, nil
}

// changed returns the values that a record changes.
func changed(r *signing.Record) map[string][]byte {
	values := map[string][]byte{}
	for _, v := range r.Changes() {
		values[v.Form.Xattr] = v.Bytes
	}
	return values
}

// errDiffers means that the copy is not what the plan describes.
var errDiffers = fmt.Errorf("%w: the copy differs from the image", errAttach)

// compare compares one file. a and b are buffers of the same size.
func (p *pair) compare(a, b []byte) error {
	if p.before.Path != p.after.Path || p.before.ID != p.after.ID || p.before.Inode != p.after.Inode {
		return errDiffers
	}
	want, err := p.before.Reader.Xattrs(p.before.ID)
	if err != nil {
		return err
	}
	got, err := p.after.Reader.Xattrs(p.after.ID)
	if err != nil {
		return err
	}
	for name, value := range p.values {
		if !bytes.Equal(got[name], value) {
			return fmt.Errorf("%w: %s is not in the copy", errAttach, name)
		}
		want[name] = value
	}
	switch {
	case !maps.EqualFunc(got, want, bytes.Equal):
		return errDiffers
	case p.before.Mode.Type() == fs.ModeSymlink:
		return p.compareLinks()
	case p.before.Mode.IsRegular() && !p.further:
		return p.compareContent(a, b)
	}
	return nil
}

func (p *pair) compareLinks() error {
	want, err := p.before.Reader.Readlink(p.before.ID)
	if err != nil {
		return err
	}
	got, err := p.after.Reader.Readlink(p.after.ID)
	if err == nil && got != want {
		err = errDiffers
	}
	return err
}

// compareStep is how many bytes of two files are compared at a time.
const compareStep = 256 << 10

func (p *pair) compareContent(a, b []byte) error {
	before, err := p.before.Reader.Open(p.before.ID)
	if err != nil {
		return err
	}
	defer before.Close() //nolint:errcheck // only read
	after, err := p.after.Reader.Open(p.after.ID)
	if err != nil {
		return err
	}
	defer after.Close() //nolint:errcheck // only read
	for at := int64(0); at < p.before.Size; at += int64(len(a)) {
		n := min(int64(len(a)), p.before.Size-at)
		for _, side := range []struct {
			filesystem.Content
			part []byte
		}{{before, a[:n]}, {after, b[:n]}} {
			if got, err := side.ReadAt(side.part, at); int64(got) < n {
				return errors.Join(err, io.ErrUnexpectedEOF)
			}
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return errDiffers
		}
	}
	return nil
}
