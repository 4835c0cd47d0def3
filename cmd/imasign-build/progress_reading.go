package main

import (
	"io"
	"os"
	"sync/atomic"
)

// reading starts a step that ends with the next event: in is read once, from its
// beginning to its end, by the reader that is returned. A regular file stays what it is.
func (p *progress) reading(in io.Reader) io.Reader {
	s := step{verb: "reading"}
	if file, info := regular(in); file != nil {
		s.total.bytes = info.Size()
		s.position = func() int64 {
			at, err := file.Seek(0, io.SeekCurrent)
			if err != nil { // it is closed
				return 0
			}
			return at
		}
	} else {
		counted := &countedReader{Reader: in}
		s.position, in = counted.n.Load, counted
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.step = s
	return in
}

// reading is that of the progress that is rendered.
func (a *app) reading(in io.Reader) io.Reader {
	if p := a.active.Load(); p != nil {
		return p.reading(in)
	}
	return in
}

// regular returns a reader that is a regular file, or nil.
func regular(in io.Reader) (*os.File, os.FileInfo) {
	file, is := in.(*os.File)
	if !is {
		return nil, nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	return file, info
}

// countedReader counts the bytes that were read.
type countedReader struct {
	io.Reader

	n atomic.Int64
}

func (r *countedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.n.Add(int64(n))
	return n, err
}
