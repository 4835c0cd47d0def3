//go:build !cgo || !linux

package libcrypto

import "fmt"

// Library is never made in this build.
type Library struct{}

// Load always fails with ErrUnavailable: the program was built without cgo.
func Load() (*Library, error) {
	return nil, fmt.Errorf("%w: built without cgo", ErrUnavailable)
}

// Version is never called.
func (*Library) Version() string { return "" }

type key struct{}

func (*Library) newKey(_, _ []byte) (*key, error) { return nil, ErrUnavailable }

func (*key) free() {}

func (*key) newWorker(string, bool) (*worker, error) { return nil, ErrUnavailable }

type worker struct{}

func (*worker) free() {}

func (*worker) sign(int, []byte, []byte) error { return ErrUnavailable }

func (*worker) verify([]byte, []byte, []uintptr) error { return ErrUnavailable }
