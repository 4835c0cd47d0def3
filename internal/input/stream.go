package input

import (
	"context"
	"fmt"
	"os"
)

// stream reads a pipe or a device. Each read runs in its own goroutine, so that a blocking
// read can be abandoned.
type stream struct {
	ctx    context.Context
	file   *os.File
	name   string
	buffer []byte
}

const chunk = 256 << 10

// Read reads into the stream's buffer first, so that an abandoned read does not change p after
// Read has returned.
func (s *stream) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, s.interrupted()
	}
	if len(p) == 0 {
		return 0, nil
	}
	if s.buffer == nil {
		s.buffer = make([]byte, chunk)
	}
	type result struct {
		n   int
		err error
	}
	into := s.buffer[:min(len(p), chunk)]
	done := make(chan result, 1)
	go func() {
		n, err := s.file.Read(into)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, into[:r.n]), r.err
	case <-s.ctx.Done():
		s.buffer = nil // the abandoned read still uses it
		return 0, s.interrupted()
	}
}

func (s *stream) interrupted() error {
	return fmt.Errorf("read %s: %w", s.name, context.Cause(s.ctx))
}

// Close closes the file. An abandoned read may continue until the process ends.
func (s *stream) Close() error { return s.file.Close() }
