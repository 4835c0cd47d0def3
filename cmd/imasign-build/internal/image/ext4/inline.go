package ext4

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

// findInline returns the xattr with inline data beyond the first 60 bytes. The kernel
// takes an inode without it for one with pointers to blocks.
func (in *inode) findInline() (*attribute, error) {
	if in.fs.features.incompat&inlineData == 0 || in.flags&flagExtents != 0 {
		return nil, filesystem.Corrupt("its data cannot be inline")
	}
	list, err := in.bodyAttributes()
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if a.index == indexSystem && string(a.name) == "data" && a.inode == 0 {
			return &a, nil
		}
	}
	return nil, filesystem.Corrupt("it has no inline data")
}

// inlineContent is the content of a file in its inode. A file may be larger than that, and
// reads as zeros from there on.
type inlineContent struct {
	data []byte
	size int64
}

func (in *inode) inlineContent() *inlineContent {
	data := append(append([]byte{}, in.blockMap()...), in.inline.value...)
	return &inlineContent{data[:min(int64(len(data)), in.size)], in.size}
}

// ReadAt implements [io.ReaderAt].
func (c *inlineContent) ReadAt(p []byte, offset int64) (int, error) {
	p, end, err := window(p, offset, c.size)
	if err != nil {
		return 0, err
	}
	n := 0
	if offset < int64(len(c.data)) {
		n = copy(p, c.data[offset:])
	}
	clear(p[n:])
	return len(p), end
}

// Close does nothing.
func (c *inlineContent) Close() error { return nil }
