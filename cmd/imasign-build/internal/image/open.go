package image

import (
	"fmt"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/erofs"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/squashfs"
)

// open opens the file system of a volume.
func open(r io.ReaderAt, v *Volume) (filesystem.Reader, error) {
	switch v.Format.Name {
	case "ext2", "ext3", "ext4":
		return ext4.Open(r, v.Size)
	case "squashfs":
		return squashfs.Open(r, v.Size)
	case "erofs":
		return erofs.Open(r, v.Size)
	case "":
		return nil, fmt.Errorf("%w: its format is not known", ErrUnreadable)
	}
	return nil, &UnreadableError{v.Format}
}
