package image

import (
	"fmt"
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// open opens the file system of a volume.
func open(_ io.ReaderAt, v *Volume) (filesystem.Reader, error) {
	if v.Format.Name == "" {
		return nil, fmt.Errorf("%w: its format is not known", ErrUnreadable)
	}
	return nil, &UnreadableError{v.Format}
}
