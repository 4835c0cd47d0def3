package ext4sign

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
)

// sealed refuses images in which, or beside which, something has digests of what would
// change.
func (c *Copy) sealed() error {
	for k := range c.image.Volumes() {
		if err := c.seals(&c.image.Volumes()[k]); err != nil {
			return err
		}
	}
	for k := range c.mounts {
		if v := c.mounts[k].Volume; v.Format.Sealed != "" {
			return fmt.Errorf("%w: behind the file system of %s is %s: remove it, sign, and make it again", ErrSealed, v, v.Format.Sealed)
		}
	}
	return c.beside()
}

// seals refuses an image with a volume that has digests of a file system that is to be
// changed.
func (c *Copy) seals(v *image.Volume) error {
	switch verity := v.Format.Name == "dm-verity"; {
	case v.Format.Name == "AVB":
		return fmt.Errorf("%w: %s has %s: sign the file system, then run avbtool", ErrSealed, v, v.Format.What)
	case !verity && strings.Contains(v.TypeName, " verity"):
		return fmt.Errorf("%w: %s is for a dm-verity hash tree: sign the file system, then run veritysetup format", ErrSealed, v)
	case verity:
		covers, err := c.covers(v)
		if covers {
			return fmt.Errorf("%w: %s is its dm-verity hash tree: sign the file system, then run veritysetup format", ErrSealed, v)
		}
		return err
	}
	return nil
}

// covers reports whether a dm-verity hash tree is of as many bytes as a file system that
// is to be changed has, or its volume. The superblock is struct verity_sb of cryptsetup
// (lib/verity/verity.c).
func (c *Copy) covers(tree *image.Volume) (bool, error) {
	b := make([]byte, 80)
	if _, err := c.image.File().ReadAt(b, tree.Start); err != nil {
		return false, err
	}
	size, blocks := uint64(binary.LittleEndian.Uint32(b[64:])), binary.LittleEndian.Uint64(b[72:])
	for k := range c.mounts {
		m := &c.mounts[k]
		if size == 0 || blocks > 1<<62/size { // not to be believed
			return true, nil
		}
		if total := int64(blocks * size); total >= m.Facts().Size && total <= m.Volume.Size {
			return true, nil
		}
	}
	return false, nil
}
