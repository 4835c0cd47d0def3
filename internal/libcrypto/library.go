//go:build cgo && linux

package libcrypto

/*
#cgo CFLAGS: -std=c11 -Wall -Wextra -O2
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "libcrypto.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// errorSize is enough, in bytes, for any text that the C side writes.
const errorSize = 512

// Library is the loaded libcrypto. It is safe for concurrent use and stays loaded
// until the process ends.
type Library struct{ c C.struct_ic_library }

func (l *Library) functions() *C.struct_ic_library { return &l.c }

// Load opens libcrypto.so.3 and finds the functions that the package needs. Errors wrap
// ErrUnavailable.
func Load() (*Library, error) {
	var text [errorSize]C.char
	l := &Library{}
	if C.ic_load(l.functions(), &text[0], errorSize) != C.IC_OK {
		return nil, fmt.Errorf("%w: %s", ErrUnavailable, C.GoString(&text[0]))
	}
	return l, nil
}

// Version returns OpenSSL's version text, for example "OpenSSL 3.0.19 27 Jan 2026".
func (l *Library) Version() string { return C.GoString(C.ic_version(l.functions())) }

// key is a key on the C side.
type key struct {
	library *Library
	c       *C.struct_ic_key
}

// newKey takes DER. Without a private key, the result only verifies.
func (l *Library) newKey(private, public []byte) (*key, error) {
	var text [errorSize]C.char
	c := C.ic_key_new(l.functions(), bytesOf(private), C.long(len(private)), bytesOf(public), C.long(len(public)), &text[0], errorSize)
	if c == nil {
		return nil, fmt.Errorf("libcrypto: %s", C.GoString(&text[0]))
	}
	return &key{l, c}, nil
}

func (k *key) free() { C.ic_key_free(k.library.functions(), k.c) }

// worker is a pair of contexts, for one caller at a time.
type worker struct {
	key *key
	c   *C.struct_ic_worker
}

func (k *key) newWorker(hash string, rsa bool) (*worker, error) {
	var text [errorSize]C.char
	name := C.CString(hash)
	defer C.free(unsafe.Pointer(name))
	padded := C.int(0)
	if rsa {
		padded = 1
	}
	c := C.ic_worker_new(k.library.functions(), k.c, name, padded, &text[0], errorSize)
	if c == nil {
		return nil, fmt.Errorf("libcrypto: %s: %s", hash, C.GoString(&text[0]))
	}
	return &worker{k, c}, nil
}

func (w *worker) free() { C.ic_worker_free(w.key.library.functions(), w.c) }

// sign signs count concatenated digests, and fills signatures with as many
// concatenated signatures.
func (w *worker) sign(count int, digests, signatures []byte) error {
	var text [errorSize]C.char
	result := C.ic_sign(w.key.library.functions(), w.c, C.size_t(count), bytesOf(digests), C.size_t(len(digests)/count),
		bytesOf(signatures), C.size_t(len(signatures)/count), &text[0], errorSize)
	return outcome(result, &text[0])
}

// verify takes concatenated digests of equal size, and concatenated signatures with
// the size of each.
func (w *worker) verify(digests, signatures []byte, sizes []uintptr) error {
	var text [errorSize]C.char
	result := C.ic_verify(w.key.library.functions(), w.c, C.size_t(len(sizes)), bytesOf(digests), C.size_t(len(digests)/len(sizes)),
		bytesOf(signatures), (*C.size_t)(unsafe.Pointer(unsafe.SliceData(sizes))), &text[0], errorSize)
	return outcome(result, &text[0])
}

func outcome(result C.int, text *C.char) error {
	switch result {
	case C.IC_OK:
		return nil
	case C.IC_MISMATCH:
		return fmt.Errorf("libcrypto: %w", ErrVerify)
	}
	return fmt.Errorf("libcrypto: %s", C.GoString(text))
}

func bytesOf(b []byte) *C.uchar { return (*C.uchar)(unsafe.Pointer(unsafe.SliceData(b))) }
