// Package stmode converts between st_mode of system calls and file formats (inode(7)) and
// [fs.FileMode].
package stmode

import "io/fs"

const typeBits = 0o170000

// types are the values of the file type bits of st_mode. The value of a regular file, and
// undefined values, have no bits in a FileMode.
var types = map[uint32]fs.FileMode{
	0o140000: fs.ModeSocket,
	0o120000: fs.ModeSymlink,
	0o060000: fs.ModeDevice,
	0o040000: fs.ModeDir,
	0o020000: fs.ModeDevice | fs.ModeCharDevice,
	0o010000: fs.ModeNamedPipe,
}

// special are setuid, setgid and sticky.
var special = [...]struct {
	bit  uint32
	flag fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

// FileMode converts st_mode as [os.Lstat] does. A mode without type bits is that of a regular
// file.
func FileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode&0o777) | types[mode&typeBits]
	for _, s := range special {
		if mode&s.bit != 0 {
			m |= s.flag
		}
	}
	return m
}

// Permissions returns the permission bits of a mode in the form of st_mode & 07777.
func Permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, s := range special {
		if mode&s.flag != 0 {
			bits |= s.bit
		}
	}
	return bits
}
