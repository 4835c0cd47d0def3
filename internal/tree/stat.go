package tree

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/stmode"
)

// mountOf returns the id of the mount that an open file is on, or 0 if the kernel does not
// tell it (STATX_MNT_ID came with Linux 5.8; old seccomp filters forbid statx).
func mountOf(fd int) uint64 {
	n, err := statx(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return 0
	}
	return n.Mount
}

// stat reads the metadata of one name in an open directory. It follows no link and triggers
// no automount. The caller sets the node's path.
func (t *Tree) stat(dir int, name string) (Node, error) {
	if t.mount != 0 {
		return statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	}
	var st unix.Stat_t
	err := ignoringEINTR(func() error {
		return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	})
	return nodeOf(&st), err
}

func statx(dir int, name string, flags int) (Node, error) {
	var st unix.Statx_t
	err := ignoringEINTR(func() error {
		return unix.Statx(dir, name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		return Node{}, err
	}
	n := Node{
		Mode: stmode.FileMode(uint32(st.Mode)), UID: st.Uid, GID: st.Gid, Size: int64(st.Size), Links: uint64(st.Nlink),
		Stamp: Stamp{
			Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, Size: int64(st.Size),
			Mtime: nano(st.Mtime), Ctime: nano(st.Ctime),
		},
	}
	n.setDevice(st.Rdev_major, st.Rdev_minor)
	if st.Mask&unix.STATX_MNT_ID != 0 {
		n.Mount = st.Mnt_id
	}
	return n, nil
}

func nano(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// isMountPoint reports whether something is mounted on the node. If the kernel does not tell
// mount ids, mounted directories are recognised by their device number or by openat2's
// refusal, and mounted files are not recognised.
func (t *Tree) isMountPoint(n *Node, parent uint64, path func() string) bool {
	switch {
	case t.mount != 0:
		return n.Mount != t.mount
	case !n.Mode.IsDir():
		return false // overlayfs gives files other device numbers than their directory
	case n.Stamp.Dev != parent:
		return true
	}
	f, err := t.open(path(), readFlags|unix.O_DIRECTORY)
	if err != nil {
		return errors.Is(err, ErrMountPoint)
	}
	_ = f.Close()
	return false
}

// leavesMount reports whether the descriptor fd, opened below the directory parent, is on
// another mount.
func (t *Tree) leavesMount(fd, parent int) bool {
	if t.mount != 0 {
		return mountOf(fd) != t.mount
	}
	var st, up unix.Stat_t
	if unix.Fstat(fd, &st) != nil || unix.Fstat(parent, &up) != nil {
		return true
	}
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Dev != up.Dev
}

// ignoringEINTR repeats a system call that a signal interrupted, as network and
// FUSE file systems report it.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
