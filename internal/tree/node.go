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
	// Path is relative to the root, slash-separated, raw bytes as the file
	// system has them (not necessarily UTF-8).
	Path string
	Mode fs.FileMode // type and permission bits, setuid and the like included
	UID  uint32
	GID  uint32
	Size int64
	// Major and Minor are the number of a device node; zero for others.
	Major, Minor uint32
	// Links is the number of names that the inode has, here and elsewhere.
	Links uint64
	Stamp Stamp
	// Mount is the kernel's id of the mount that shows the name, 0 where the
	// kernel does not tell it (before Linux 5.8).
	Mount uint64
	// MountPoint marks a directory or file that belongs to another mount, which
	// the tree's Options do not let the walk enter.
	MountPoint bool
}

// Stamp tells one state of one inode from any other: whoever replaces a file,
// writes to it or changes its metadata changes its stamp.
type Stamp struct {
	Dev, Ino     uint64
	Size         int64
	Mtime, Ctime int64 // nanoseconds since 1970
}

// SameInode reports whether both stamps are of one inode, in whatever state.
func (s Stamp) SameInode(o Stamp) bool { return s.Dev == o.Dev && s.Ino == o.Ino }

// Check fails with ErrChanged, naming what differs, unless now equals s.
func (s Stamp) Check(now Stamp) error {
	switch {
	case s == now:
		return nil
	case !s.SameInode(now):
		return fmt.Errorf("%w: another file took its place", ErrChanged)
	case s.Size != now.Size:
		return fmt.Errorf("%w: size went from %d to %d bytes", ErrChanged, s.Size, now.Size)
	case s.Mtime != now.Mtime:
		return fmt.Errorf("%w: its content was written", ErrChanged)
	default:
		return fmt.Errorf("%w: its metadata was changed", ErrChanged)
	}
}

// check is Check, or no more than SameInode to restore.
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

// UnmarshalBinary decodes what MarshalBinary wrote.
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

// setDevice takes the number of a device node; what a kernel or library says of
// other files is ignored.
func (n *Node) setDevice(major, minor uint32) {
	n.Major, n.Minor = 0, 0
	if n.Mode&fs.ModeDevice != 0 {
		n.Major, n.Minor = major, minor
	}
}
