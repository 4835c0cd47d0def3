package tree

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/stmode"
)

// Node is one name in the tree. The root itself is not a node.
type Node struct {
	// Path is relative to the root and slash-separated, in the raw bytes of the file system,
	// which need not be UTF-8.
	Path string
	Mode fs.FileMode // type and permission bits, with setuid, setgid and sticky
	UID  uint32
	GID  uint32
	Size int64 // in bytes
	// Major and Minor are the device number of a device node, and zero for other files.
	Major, Minor uint32
	// Links is the number of names of the inode, inside and outside the tree.
	Links uint64
	Stamp Stamp
	// Mount is the kernel's id of the mount that the name is on, or 0 if the kernel does not
	// tell it (before Linux 5.8).
	Mount uint64
	// MountPoint marks a directory or file on another mount that the walk does not enter
	// because of the tree's Options.
	MountPoint bool
}

// Stamp identifies one state of one inode: the stamp of a path changes when the file is
// replaced, written to, or its metadata is changed.
type Stamp struct {
	Dev, Ino     uint64
	Size         int64 // in bytes
	Mtime, Ctime int64 // nanoseconds since 1970
}

// SameInode reports whether both stamps are of the same inode, in any state.
func (s Stamp) SameInode(o Stamp) bool { return s.Dev == o.Dev && s.Ino == o.Ino }

// Check returns nil if now equals s. Otherwise its error wraps ErrChanged and says what
// differs.
func (s Stamp) Check(now Stamp) error {
	switch {
	case s == now:
		return nil
	case !s.SameInode(now):
		return fmt.Errorf("%w: another file took its place", ErrChanged)
	case s.Size != now.Size:
		return fmt.Errorf("%w: size went from %d to %d bytes", ErrChanged, s.Size, now.Size)
	case s.Mtime != now.Mtime:
		return fmt.Errorf("%w: its content was written to", ErrChanged)
	default:
		return fmt.Errorf("%w: its metadata was changed", ErrChanged)
	}
}

// check is Check to attach. To restore, it only needs the same inode.
func (s Stamp) check(now Stamp, how how) error {
	if how == restore && s.SameInode(now) {
		return nil
	}
	return s.Check(now)
}

const stampSize = 5 * 8

// MarshalBinary encodes the stamp in 40 bytes, little-endian.
func (s Stamp) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, stampSize)
	for _, v := range [...]uint64{s.Dev, s.Ino, uint64(s.Size), uint64(s.Mtime), uint64(s.Ctime)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b, nil
}

// UnmarshalBinary decodes a stamp that MarshalBinary encoded.
func (s *Stamp) UnmarshalBinary(b []byte) error {
	if len(b) != stampSize {
		return fmt.Errorf("file stamp: %d bytes instead of %d", len(b), stampSize)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	*s = Stamp{Dev: word(0), Ino: word(1), Size: int64(word(2)), Mtime: int64(word(3)), Ctime: int64(word(4))}
	return nil
}

// StampOf returns the stamp of an open file.
func StampOf(f *os.File) (Stamp, error) {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Stamp{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return stampOf(&st), nil
}

func stampOf(st *unix.Stat_t) Stamp {
	return Stamp{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()} //nolint:unconvert // Dev's width varies
}

func nodeOf(st *unix.Stat_t) Node {
	n := Node{
		Mode: stmode.FileMode(st.Mode), UID: st.Uid, GID: st.Gid, Size: st.Size,
		Links: uint64(st.Nlink), Stamp: stampOf(st), //nolint:unconvert // Nlink's width varies
	}
	rdev := uint64(st.Rdev) //nolint:unconvert // its width varies
	n.setDevice(unix.Major(rdev), unix.Minor(rdev))
	return n
}

// setDevice sets the device number of a device node. For other files the number that the
// kernel or a library states is ignored.
func (n *Node) setDevice(major, minor uint32) {
	n.Major, n.Minor = 0, 0
	if n.Mode&fs.ModeDevice != 0 {
		n.Major, n.Minor = major, minor
	}
}
