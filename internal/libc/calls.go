//go:build cgo && linux

package libc

/*
#cgo CFLAGS: -std=c11 -Wall -Wextra -O2
#include <stdlib.h>
#include "libc.h"
*/
import "C"

import (
	"encoding/binary"
	"strings"
	"syscall"
	"unsafe"
)

// Linked reports whether this build calls the C library.
const Linked = true

// ClosedAtStart reports whether standard input (0), output (1) or error (2) was closed
// when the program started. Since then the descriptor is /dev/null. A build without cgo
// cannot tell, and reports false.
func ClosedAtStart(fd int) bool { return fd >= 0 && fd <= 2 && C.il_closed_at_start(C.int(fd)) != 0 }

// Stat and struct il_stat have the same fields. This compares their sizes.
var _ [unsafe.Sizeof(Stat{})]byte = [C.sizeof_struct_il_stat]byte{}

// statBatch is how many files one call asks about: enough that the call itself costs
// nothing, and few enough that a huge directory does not occupy a thread for long.
const statBatch = 512

// Lstat describes the file itself, not the target of a link.
func Lstat(path string) (Stat, error) {
	dir, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	stats, err := LstatAll(dir, []string{name})
	if err != nil {
		return Stat{}, err
	}
	return stats[0], stats[0].Err()
}

// LstatAll is Lstat for many files of one directory ("" for the root). Err of each
// result tells whether it is filled. LstatAll itself fails only for a name with a NUL.
func LstatAll(dir string, names []string) ([]Stat, error) {
	stats := make([]Stat, len(names))
	cdir, err := cString(dir)
	if err != nil {
		return nil, err
	}
	defer cdir.free()
	var list []byte
	for done := 0; done < len(names); done += statBatch {
		batch := names[done:min(done+statBatch, len(names))]
		list = list[:0]
		for _, name := range batch {
			if strings.IndexByte(name, 0) >= 0 {
				return nil, syscall.EINVAL
			}
			list = append(append(list, name...), 0)
		}
		C.il_lstat(cdir.c, charsOf(list), C.size_t(len(batch)), (*C.struct_il_stat)(unsafe.Pointer(&stats[done])))
	}
	return stats, nil
}

// firstBuffer is the size of the first buffer for the names and values of a file's xattrs,
// and is enough for most files. maxBuffer is the largest: the kernel keeps 64 KiB of names,
// and 64 KiB for each value.
const (
	firstBuffer = 4 << 10
	maxBuffer   = 16 << 20
)

// Xattrs returns the xattrs of the file at path whose names start with prefix. If the
// file is not in the state want, Xattrs fails with ErrOther, and the Stat describes the
// file that is at path. Only regular files and directories are opened.
func Xattrs(path string, want *Stat, prefix string) (map[string][]byte, Stat, error) {
	cpath, err := cString(path)
	if err != nil {
		return nil, Stat{}, &Error{Op: OpOpen, Err: err}
	}
	defer cpath.free()
	cprefix, err := cString(prefix)
	if err != nil {
		return nil, Stat{}, &Error{Op: OpList, Err: err}
	}
	defer cprefix.free()
	kind := want.Mode & syscall.S_IFMT
	byPath := C.int(1)
	if kind == syscall.S_IFREG || kind == syscall.S_IFDIR {
		byPath = 0
	}
	for size := firstBuffer; ; size *= 8 {
		list, values := make([]byte, size/4), make([]byte, size-size/4)
		var r C.struct_il_result
		used := C.il_xattrs(cpath.c, statOf(want), byPath, cprefix.c, charsOf(list), C.size_t(len(list)),
			charsOf(values), C.size_t(len(values)), &r)
		if r.stage == C.IL_LIST && syscall.Errno(r.error) == syscall.ERANGE && size < maxBuffer {
			continue
		}
		name := ""
		if r.stage == C.IL_XATTR {
			name, _, _ = strings.Cut(string(list[r.at:]), "\x00")
		}
		return decode(values[:used]), nowOf(&r), failure(&r, OpGet, name, 0)
	}
}

func decode(b []byte) map[string][]byte {
	if len(b) == 0 {
		return nil
	}
	values := make(map[string][]byte, 1)
	for len(b) > 0 {
		n, v := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])
		name, value := b[8:8+n], b[8+n:8+n+v]
		values[string(name)] = append([]byte{}, value...)
		b = b[8+n+v:]
	}
	return values
}

// ChangeXattrs makes the changes in order on the regular file or directory at path, and
// ends with the first change that fails. If the file is not in the state want, it fails
// with ErrOther. It returns how many changes were made, and the current state (dev, ino,
// size, times) of the file at path.
func ChangeXattrs(path string, want *Stat, how How, changes []Change) (made int, now Stat, err error) {
	cpath, err := cString(path)
	if err != nil {
		return 0, now, &Error{Op: OpOpen, Err: err}
	}
	defer cpath.free()
	list, err := encode(changes)
	if err != nil {
		return 0, now, err
	}
	var r C.struct_il_result
	C.il_change(cpath.c, statOf(want), how.bits(), charsOf(list), C.size_t(len(changes)), &r)
	op, name, size := "", "", 0
	if r.stage == C.IL_XATTR {
		failed := changes[r.at]
		op, name, size = OpSet, failed.Name, len(failed.Value)
		if failed.Value == nil {
			op = OpRemove
		}
	}
	return int(r.at), nowOf(&r), failure(&r, op, name, size)
}

func (h How) bits() (bits C.int) {
	for bit, set := range map[C.int]bool{C.IL_ANY_STATE: h.AnyState, C.IL_COMPARE: h.Compare, C.IL_SKIP_OTHER: h.SkipOther, C.IL_KEEP_OWNER: h.KeepOwner} {
		if set {
			bits |= bit
		}
	}
	return bits
}

func encode(changes []Change) ([]byte, error) {
	var b []byte
	for _, c := range changes {
		if strings.IndexByte(c.Name, 0) >= 0 || len(c.Value) > maxBuffer || len(c.Old) > maxBuffer {
			return nil, &Error{Op: OpSet, Xattr: c.Name, Size: len(c.Value), Err: syscall.EINVAL}
		}
		for _, n := range [...]int32{int32(c.Flags), length(c.Value), length(c.Old)} {
			b = binary.NativeEndian.AppendUint32(b, uint32(n))
		}
		b = append(append(b, c.Name...), 0)
		b = append(append(b, c.Value...), c.Old...)
	}
	return b, nil
}

func length(value []byte) int32 {
	if value == nil {
		return -1
	}
	return int32(len(value))
}

// failure turns the result of work on a file into an error. op, xattr and size describe
// the call for an xattr that failed.
func failure(r *C.struct_il_result, op, xattr string, size int) error {
	errno := syscall.Errno(r.error)
	switch r.stage {
	case C.IL_DONE:
		return nil
	case C.IL_OPEN:
		return &Error{Op: OpOpen, Err: errno}
	case C.IL_STAT:
		return &Error{Op: OpStat, Err: errno}
	case C.IL_OTHER:
		return ErrOther
	case C.IL_LIST:
		return &Error{Op: OpList, Err: errno}
	case C.IL_OWNER:
		return &Error{Op: OpOwner, Err: errno}
	}
	return &Error{Op: op, Xattr: xattr, Size: size, Err: errno}
}

// Create makes an empty file with the permission bits mode without those of the umask.
// It fails with EEXIST if the name is taken.
func Create(path string, mode uint32) error {
	return onPath(path, func(p *C.char) C.int { return C.il_create(p, C.uint32_t(mode)) })
}

// Chown changes the owner. It does not follow a link.
func Chown(path string, uid, gid uint32) error {
	return onPath(path, func(p *C.char) C.int { return C.il_chown(p, C.uint32_t(uid), C.uint32_t(gid)) })
}

// Chmod changes the permission bits, setuid, setgid and sticky (st_mode's).
func Chmod(path string, mode uint32) error {
	return onPath(path, func(p *C.char) C.int { return C.il_chmod(p, C.uint32_t(mode)) })
}

// Rename gives the file the name to, and replaces the file of that name.
func Rename(from, to string) error {
	return onPath(from, func(f *C.char) C.int {
		return errnoOf(onPath(to, func(t *C.char) C.int { return C.il_rename(f, t) }))
	})
}

// Link gives the file another name, which must be free.
func Link(from, to string) error {
	return onPath(from, func(f *C.char) C.int {
		return errnoOf(onPath(to, func(t *C.char) C.int { return C.il_link(f, t) }))
	})
}

// Unlink removes a name.
func Unlink(path string) error {
	return onPath(path, func(p *C.char) C.int { return C.il_unlink(p) })
}

func onPath(path string, call func(*C.char) C.int) error {
	p, err := cString(path)
	if err != nil {
		return err
	}
	defer p.free()
	if errno := call(p.c); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

func errnoOf(err error) C.int {
	if errno, ok := err.(syscall.Errno); ok { //nolint:errorlint // onPath returns nothing else
		return C.int(errno)
	}
	return 0
}

type chars struct{ c *C.char }

// cString refuses strings with a NUL, which C would cut short.
func cString(s string) (chars, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return chars{}, syscall.EINVAL
	}
	return chars{C.CString(s)}, nil
}

func (c chars) free() { C.free(unsafe.Pointer(c.c)) }

func charsOf(b []byte) *C.char { return (*C.char)(unsafe.Pointer(unsafe.SliceData(b))) }

func statOf(s *Stat) *C.struct_il_stat { return (*C.struct_il_stat)(unsafe.Pointer(s)) }

func nowOf(r *C.struct_il_result) Stat { return *(*Stat)(unsafe.Pointer(&r.now)) }
