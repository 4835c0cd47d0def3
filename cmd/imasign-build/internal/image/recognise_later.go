package image

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Format is a format of an image or a partition.
type Format struct {
	Name     string // as in /proc/filesystems; "" if the format is not known
	Readable bool
	Advice   string // what to do about a format that cannot be read
}

// Recognise returns the format of the content of r.
func Recognise(r io.ReaderAt, _ int64) (Format, error) {
	b := make([]byte, 2048)
	n, err := r.ReadAt(b, 0)
	if n < len(b) {
		return Format{}, err
	}
	switch {
	case bytes.HasPrefix(b, []byte("hsqs")):
		return Format{Name: "squashfs", Readable: true}, nil
	case binary.LittleEndian.Uint32(b[1024:]) == 0xE0F5E1E2:
		return Format{Name: "erofs", Readable: true}, nil
	case binary.LittleEndian.Uint16(b[1024+0x38:]) == 0xEF53:
		return Format{Name: "ext4", Readable: true}, nil
	}
	return Format{}, nil
}
