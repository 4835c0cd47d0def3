package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// TestXattrLimit reads more xattrs than a file may have.
func TestXattrLimit(t *testing.T) {
	const most = filesystem.MaxXattrs / maxValue
	for count, want := range map[int]error{most: nil, most + 1: filesystem.ErrLimit} {
		var b []byte
		for i := range count {
			b = append(b, 2, 0, 2, 0) // security, and the size of the name
			b = fmt.Appendf(b, "%02d", i)
			b = append(binary.LittleEndian.AppendUint32(b, maxValue), make([]byte, maxValue)...)
		}
		c := cursor{rest: b}
		if list, err := c.xattrs(uint32(count)); !errors.Is(err, want) || err == nil && len(list) != count {
			t.Errorf("%d xattrs: got %d, %v", count, len(list), err)
		}
	}
}
