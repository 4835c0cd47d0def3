package initramfs

import (
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/cavaliergopher/cpio"
)

// blockSize is the block size in bytes of GNU cpio, which pads archives to full blocks. The
// kernel accepts another archive after this one at any multiple of four bytes.
const blockSize = 512

// WriteCPIO writes the bundle as a newc cpio archive (the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst), not compressed. Equal
// bundles give equal bytes: entries are sorted and belong to root, inode numbers count
// from 1, and all entries have the time mtime. ErrTime means that mtime does not fit into the
// format.
func (b *Bundle) WriteCPIO(w io.Writer, mtime time.Time) error {
	if s := mtime.Unix(); s < 0 || s > math.MaxUint32 {
		return fmt.Errorf("modification time %s: %w", mtime.UTC().Format(time.RFC3339), ErrTime)
	}
	out := &counter{w: w}
	archive := cpio.NewWriter(out)
	for i, f := range b.Files {
		h := &cpio.Header{Name: f.Path, Inode: int64(i + 1), Links: 1, Size: int64(len(f.Data)), ModTime: mtime}
		h.Mode = cpio.FileMode(f.Mode.Perm())
		switch f.Mode.Type() {
		case fs.ModeDir:
			h.Mode |= cpio.TypeDir
			h.Links = 2
		case fs.ModeSymlink:
			h.Mode |= cpio.TypeSymlink
		default:
			h.Mode |= cpio.TypeReg
		}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(f.Data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	_, err := w.Write(make([]byte, (blockSize-out.n%blockSize)%blockSize))
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
