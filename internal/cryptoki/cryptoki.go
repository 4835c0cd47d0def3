//go:build cgo

// Package cryptoki calls those functions of a PKCS#11 module whose answers must be checked.
// A module may return CKR_OK without a result, or a length beyond the buffer.
// github.com/miekg/pkcs11 trusts both, dereferences a function list that is NULL, and leaves
// copies of PINs in memory. Its other calls, types and constants are used together with this
// package; both use the same loaded module.
//
// The module's code runs in this process and is not contained.
package cryptoki

/*
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "cryptoki.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// Errors about what a module answers.
var (
	// ErrNoModule: the file cannot be loaded, or is not a PKCS#11 module.
	ErrNoModule = errors.New("no PKCS#11 module of this machine's architecture, or a library that it needs is missing")
	// ErrNothing: the module answered CKR_OK without a usable result.
	ErrNothing = errors.New("the module answered CKR_OK, but gave nothing: it is broken")
)

// maxAnswer bounds the length that a module may return, in bytes or elements.
const maxAnswer = 1 << 20

// Module is a loaded module. It stays loaded.
type Module struct{ list *C.ick_list }

// Load loads the module at path and checks its function list.
func Load(path string) (*Module, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var list *C.ick_list
	switch C.ick_load(name, &list) { //nolint:gocritic // it sees what cgo makes of it
	case C.ICK_OK:
		return &Module{list}, nil
	case C.ICK_NOTHING:
		return nil, fmt.Errorf("%w (no list of functions, or one with gaps)", ErrNothing)
	}
	return nil, ErrNoModule
}

// Slots returns the slots with a token. code is what the module returned (CKR_OK is 0).
func (m *Module) Slots() (slots []uint, code uint, err error) {
	var count C.ulong
	if rv := C.ick_slots(m.list, nil, &count); rv != 0 {
		return nil, uint(rv), nil
	}
	if count > maxAnswer {
		return nil, 0, fmt.Errorf("%w (%d slots)", ErrNothing, uint64(count))
	}
	if count == 0 {
		return nil, 0, nil
	}
	room := make([]C.ulong, count)
	given := count
	if rv := C.ick_slots(m.list, &room[0], &given); rv != 0 {
		return nil, uint(rv), nil
	}
	for _, slot := range room[:min(given, count)] {
		slots = append(slots, uint(slot))
	}
	return slots, 0, nil
}

// Find returns at most limit objects of a search that the caller has begun.
func (m *Module) Find(session uint, limit int) (objects []uint, code uint, err error) {
	room := make([]C.ulong, limit)
	var count C.ulong
	if rv := C.ick_find(m.list, C.ulong(session), &room[0], C.ulong(limit), &count); rv != 0 {
		return nil, uint(rv), nil
	}
	if count > C.ulong(limit) {
		return nil, 0, fmt.Errorf("%w (%d objects where %d were asked for)", ErrNothing, uint64(count), limit)
	}
	for _, object := range room[:count] {
		objects = append(objects, uint(object))
	}
	return objects, 0, nil
}

// Attribute returns one attribute of an object, nil if the object lacks it or does not reveal
// it.
func (m *Module) Attribute(session, object, kind uint) (value []byte, code uint) {
	size := C.ulong(0)
	if rv := C.ick_attribute(m.list, C.ulong(session), C.ulong(object), C.ulong(kind), nil, &size); rv != 0 || size == 0 || size > maxAnswer {
		return nil, uint(rv)
	}
	room := make([]byte, size)
	given := size
	if rv := C.ick_attribute(m.list, C.ulong(session), C.ulong(object), C.ulong(kind), unsafe.Pointer(&room[0]), &given); rv != 0 || given > size {
		return nil, uint(rv)
	}
	return room[:given], 0
}

// Sign makes a signature of at most limit bytes over input. The caller has begun the
// operation.
func (m *Module) Sign(session uint, input []byte, limit int) (signature []byte, code uint, err error) {
	room := make([]byte, limit)
	size := C.ulong(limit)
	if rv := C.ick_sign(m.list, C.ulong(session), unsafe.Pointer(unsafe.SliceData(input)), C.ulong(len(input)), unsafe.Pointer(&room[0]), &size); rv != 0 {
		return nil, uint(rv), nil
	}
	if size == 0 || size > C.ulong(limit) {
		return nil, 0, fmt.Errorf("%w (a signature of %d bytes)", ErrNothing, uint64(size))
	}
	return room[:size], 0, nil
}

// Login logs in with a PIN, without copying it.
func (m *Module) Login(session, user uint, pin []byte) (code uint) {
	return uint(C.ick_login(m.list, C.ulong(session), C.ulong(user), unsafe.Pointer(unsafe.SliceData(pin)), C.ulong(len(pin))))
}
