package erofs

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"

const (
	indexAhead = 4 << 10   // bytes of indexes to read at once
	maxAhead   = 128 << 10 // bytes of compressed data to read at once
)

// window reads an image forward, more than it is asked for.
type window struct {
	fs    *FileSystem
	from  int64 // position of data
	data  []byte
	ahead int // bytes to read at once
	grows bool
}

// reset empties a window. One that reads 0 bytes ahead reads the more, the longer it is
// read in sequence.
func (w *window) reset(f *FileSystem, ahead int) {
	*w = window{fs: f, data: w.data[:0], ahead: ahead, grows: ahead == 0}
}

// read returns n bytes at a position. They are valid until the next read.
func (w *window) read(at int64, n int) ([]byte, error) {
	if at >= w.from && at-w.from <= int64(len(w.data)-n) {
		return w.data[at-w.from:][:n], nil
	}
	if at < 0 || at > w.fs.size || int64(n) > w.fs.size-at {
		return nil, filesystem.Corrupt("%d bytes at %d are outside of the image", n, at)
	}
	if w.grows {
		sequel := at > w.from && at-w.from <= int64(len(w.data))
		if w.ahead = min(2*max(w.ahead, n), maxAhead); !sequel {
			w.ahead = n
		}
	}
	size := min(int64(max(n, w.ahead)), w.fs.size-at)
	w.from, w.data = at, resize(w.data, int(size))
	if err := w.fs.readAt(w.data, at); err != nil {
		w.data = w.data[:0]
		return nil, err
	}
	return w.data[:n], nil
}
