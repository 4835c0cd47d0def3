package ext4

import (
	"errors"
	"io"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// names of the images in testdata.
var names = []string{"ext2", "ext4", "meta_bg", "checksums"}

// FuzzOpen reads everything in an image of testdata with some bytes changed: a patch of
// five bytes is an offset, in three bytes, and two bytes for it.
func FuzzOpen(f *testing.F) {
	images := make([][]byte, len(names))
	for i, name := range names {
		images[i] = image(f, name)
		f.Add(byte(i), []byte{})
		for at := 1024; at < 64<<10; at += 800 {
			f.Add(byte(i), []byte{0, byte(at >> 8), byte(at), 0xFF, 0x7F, 0, byte(at >> 8), byte(at + 40), 1, 0})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		b := append([]byte{}, images[int(which)%len(images)]...)
		for ; len(patch) >= 5; patch = patch[5:] {
			at := (int(patch[0])<<16 | int(patch[1])<<8 | int(patch[2])) % (len(b) - 1)
			copy(b[at:], patch[3:5])
		}
		fs, err := open(b)
		if err == nil {
			err = readAll(t, fs)
		}
		for _, known := range []error{nil, filesystem.ErrCorrupt, filesystem.ErrUnsupported, filesystem.ErrLimit} {
			if errors.Is(err, known) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("refused without a known reason: %v", err)
		}
	})
}
