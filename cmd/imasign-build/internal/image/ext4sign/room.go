package ext4sign

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

// maxValue is the number of bytes after which debugfs cuts values off (do_set_xattr in
// debugfs/xattrs.c).
const maxValue = 4096

// fits checks that there is room for the values of a plan.
func (c *Copy) fits(ctx context.Context, plan *signing.Plan) error {
	blocks := make([]uint64, len(c.mounts)) // needed
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
		blocks[p.mount] += n
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
	return c.enough(blocks)
}

// enough checks that there are enough free blocks.
func (c *Copy) enough(blocks []uint64) error {
	for k, needed := range blocks {
		if free := c.mounts[k].FreeBlocks(); needed > free {
			size := c.mounts[k].Facts().BlockSize
			return fmt.Errorf("%w: the values need %d free blocks of %d bytes, and %s has %d: make it larger (resize2fs), or its inodes (mkfs.ext4 -I 512)", ErrRoom, needed, size, c.mounts[k].Volume, free)
		}
	}
	return nil
}

// takes returns how many free blocks the new values of a file need. The error wraps ErrRoom
// if they fit nowhere. The rules are those of xattr_array_update in lib/ext2fs/ext_attr.c
// of e2fsprogs.
func (m *mount) takes(id filesystem.ID, values []signing.Value) (blocks uint64, err error) {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = v.Form.Xattr
	}
	space, err := m.Space(id, names...)
	if err != nil {
		return 0, err
	}
	inodes := m.has("ea_inode")
	block := false
	for _, v := range values {
		if len(v.Bytes) > maxValue {
			return 0, fmt.Errorf("%w: %s of %d bytes, but debugfs cuts values at %d: use a key with shorter signatures, or sign the tree before the image is made", ErrRoom, v.Form.Xattr, len(v.Bytes), maxValue)
		}
		size := ext4.XattrSize(strings.TrimPrefix(v.Form.Xattr, "security."), len(v.Bytes))
		apart := ext4.XattrSize(strings.TrimPrefix(v.Form.Xattr, "security."), 0)
		if inodes && (len(v.Bytes) > m.large() || size > max(space.Inode, space.Block)) {
			blocks += (uint64(len(v.Bytes)) + uint64(m.Facts().BlockSize) - 1) / uint64(m.Facts().BlockSize)
			size = apart
		}
		switch {
		case size <= space.Inode:
			space.Inode -= size
		case size <= space.Block:
			space.Block -= size
			block = true
		default:
			return blocks, m.full(&v)
		}
	}
	if block && space.Sharers != 1 {
		blocks++
	}
	return blocks, nil
}

// large returns the number of bytes up to which a value is not in an inode of its own
// (EXT4_XATTR_MIN_LARGE_EA_SIZE).
func (m *mount) large() int {
	const header, end = 32, 4
	return int(m.Facts().BlockSize) - ext4.XattrSize("ima", 0) - header - end
}

func (m *mount) full(v *signing.Value) error {
	return fmt.Errorf("%w for %s of %d bytes in its inode and its xattr block: use a key with shorter signatures (P-256), or make the image with larger inodes (mkfs.ext4 -I 512) or with -O ea_inode", ErrRoom, v.Form.Xattr, len(v.Bytes))
}
