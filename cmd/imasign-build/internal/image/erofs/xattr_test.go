package erofs

import (
	"errors"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// TestXattrLimit adds xattrs until a file has too many.
func TestXattrLimit(t *testing.T) {
	const value = 1<<16 - 1
	x := xattrs{fs: &FileSystem{}, found: map[string][]byte{}}
	for i := range 20 {
		err := x.add(append([]byte{1, securityXattr, 0xff, 0xff, 'a' + byte(i)}, make([]byte, value)...))
		if (i+1)*value <= filesystem.MaxXattrs && err != nil || (i+1)*value > filesystem.MaxXattrs && !errors.Is(err, filesystem.ErrLimit) {
			t.Fatalf("xattr %d: %v", i, err)
		}
	}
}
