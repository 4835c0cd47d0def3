package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/internal/compress"
)

// cancelling cancels a context when the first byte is written.
type cancelling struct {
	cancel context.CancelCauseFunc
	bytes  int
}

func (c *cancelling) Write(p []byte) (int, error) {
	c.bytes += len(p)
	c.cancel(errInterrupted)
	return len(p), nil
}

// TestInterruptedBundle checks that a signal stops the writing and compressing of an
// archive.
func TestInterruptedBundle(t *testing.T) {
	bundle := &initramfs.Bundle{Files: []initramfs.File{{Path: "large", Mode: 0o644, Data: make([]byte, 8<<20)}}}
	for _, c := range []compress.Format{compress.None, compress.XZ} {
		ctx, cancel := context.WithCancelCause(t.Context())
		w := &cancelling{cancel: cancel}
		if err := writeBundle(ctx, w, bundle, c, time.Unix(0, 0)); !errors.Is(err, errInterrupted) {
			t.Errorf("%s: %v", c, err)
		}
		if w.bytes > 1<<20 {
			t.Errorf("%s: %d bytes were written", c, w.bytes)
		}
	}
}
