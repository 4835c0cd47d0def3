package ext4sign

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/pkg/signing"
)

// fits checks that there is room for the values of a plan.
func (c *Copy) fits(ctx context.Context, plan *signing.Plan) error {
	needs := make([]need, len(c.mounts))
	var first error
	more := 0
	for p, err := range c.placed(ctx, plan) {
		if err != nil {
			return err
		}
		if !p.record.Pending() {
			continue
		}
		n, err := c.mounts[p.mount].takes(p.node.ID, p.record.Changes())
		needs[p.mount].add(n)
		switch {
		case err == nil:
		case first == nil && errors.Is(err, ErrRoom):
			first = fmt.Errorf("%s: %w", quote.Name(p.node.Path), err)
		case errors.Is(err, ErrRoom):
			more++
		default:
			return fmt.Errorf("%s: %w", quote.Name(p.node.Path), err)
		}
	}
	if first != nil && more > 0 {
		return fmt.Errorf("%w (and so for %d more files)", first, more)
	}
	if first != nil {
		return first
	}
	return c.enough(needs)
}

// need is what values take of a file system.
type need struct {
	blocks uint64 // free ones
	inodes uint64 // free ones
}

func (n *need) add(more need) {
	n.blocks += more.blocks
	n.inodes += more.inodes
}

// enough checks that there are enough free blocks and inodes.
func (c *Copy) enough(needs []need) error {
	for k, n := range needs {
		m := &c.mounts[k]
		if free := m.FreeBlocks(); n.blocks > free {
			size := m.Facts().BlockSize
			return fmt.Errorf("%w: the values need %d free blocks of %d bytes, and %s has %d: make it larger (resize2fs), or its inodes (mkfs.ext4 -I 512)", ErrRoom, n.blocks, size, m.Volume, free)
		}
		if free := m.FreeInodes(); n.inodes > free {
			return fmt.Errorf("%w: %d values need an inode each, and %s has %d free ones: make the image with more (mkfs.ext4 -N %d), or larger (resize2fs)", ErrRoom, n.inodes, m.Volume, free, m.Inodes()-free+n.inodes)
		}
	}
	return nil
}

// takes returns what the new values of a file need. The error wraps ErrRoom if they fit
// nowhere.
func (m *mount) takes(id filesystem.ID, values []signing.Value) (need, error) {
	names := make([]string, len(values))
	sizes := make([]xattrspace.Value, len(values))
	for i, v := range values {
		names[i] = v.Form.Xattr
		sizes[i] = xattrspace.Value{Name: strings.TrimPrefix(v.Form.Xattr, "security."), Size: len(v.Bytes)}
		if len(request("", id, &v, m.Layout().Block)) > maxLine {
			return need{}, fmt.Errorf("%w: %s of %d bytes, but debugfs reads lines of %d: use a key with shorter signatures, or sign the tree before the image is made", ErrRoom, v.Form.Xattr, len(v.Bytes), maxLine)
		}
	}
	space, err := m.Space(id, names...)
	if err != nil {
		return need{}, err
	}
	taken, err := m.Layout().Place(space.Room, sizes...)
	var full *xattrspace.FullError
	if errors.As(err, &full) {
		return need{}, m.full(id, full.Value, names, sizes)
	}
	n := need{uint64(taken.Blocks), uint64(taken.Inodes)}
	if taken.Block && space.Sharers != 1 {
		n.blocks++
	}
	return n, nil
}

// full is the error that there is no room for one of the new values of a file. names are
// the full names of the xattrs.
func (m *mount) full(id filesystem.ID, v xattrspace.Value, names []string, values []xattrspace.Value) error {
	old, err := m.Xattrs(id)
	if err != nil {
		return err
	}
	for name, value := range old {
		if !slices.Contains(names, name) {
			_, short, _ := strings.Cut(name, ".")
			values = append(values, xattrspace.Value{Name: short, Size: len(value)})
		}
	}
	l := m.Layout()
	return fmt.Errorf("%w for security.%s of %d bytes in its inode (%d bytes) and its xattr block (%d bytes): %s", ErrRoom, v.Name, v.Size, l.Inode, l.Block, l.Advice(values...))
}
