package compress

import (
	"bytes"
	"context"
	"io"
)

// chunks compresses pieces of its input on several goroutines and writes the results in
// order. It is for formats whose files may be concatenated and whose encoders use one
// core (xz and bzip2).
type chunks struct {
	ctx    context.Context // ends the wait for pieces, which take seconds
	w      io.Writer
	encode func(io.Writer) (io.WriteCloser, error)
	size   int
	piece  []byte
	under  []chan encoded // in the order of the input
	jobs   int
	any    bool
	err    error
}

type encoded struct {
	text []byte
	err  error
}

func newChunks(ctx context.Context, w io.Writer, size, jobs int, encode func(io.Writer) (io.WriteCloser, error)) *chunks {
	return &chunks{ctx: ctx, w: w, encode: encode, size: size, jobs: jobs}
}

func (c *chunks) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 && c.err == nil {
		if c.piece == nil {
			c.piece = make([]byte, 0, c.size)
		}
		n := min(len(b), c.size-len(c.piece))
		c.piece = append(c.piece, b[:n]...)
		b, written = b[n:], written+n
		if len(c.piece) == c.size {
			c.start()
		}
	}
	return written, c.err
}

// start begins to encode the piece, and writes the oldest piece if enough are under way.
func (c *chunks) start() {
	done := make(chan encoded, 1)
	go func(piece []byte) {
		var out bytes.Buffer
		z, err := c.encode(&out)
		if err == nil {
			_, err = z.Write(piece)
		}
		if err == nil {
			err = z.Close()
		}
		done <- encoded{out.Bytes(), err}
	}(c.piece)
	c.piece, c.any = nil, true
	if c.under = append(c.under, done); len(c.under) > c.jobs {
		c.writeOldest()
	}
}

func (c *chunks) writeOldest() {
	oldest := c.under[0]
	if c.under = c.under[1:]; c.err != nil {
		return // the goroutines end by themselves
	}
	select {
	case done := <-oldest:
		if c.err = done.err; c.err == nil {
			_, c.err = c.w.Write(done.text)
		}
	case <-c.ctx.Done():
		c.err = context.Cause(c.ctx)
	}
}

// Close writes what is left; an empty input becomes one empty piece.
func (c *chunks) Close() error {
	if c.err == nil && (len(c.piece) > 0 || !c.any) {
		c.start()
	}
	for len(c.under) > 0 {
		c.writeOldest()
	}
	return c.err
}
