package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/pkg/signing"
)

// hasRoom checks on each file system whether the xattrs of a file with the largest values of
// the plan fit.
func (t *Tree) hasRoom(plan *signing.Plan) error {
	largest, err := t.largest(plan)
	if err != nil {
		return err
	}
	for k := range largest {
		if t.tree.Preload() != "" {
			if err := t.pretends(&largest[k]); err != nil {
				return err
			}
			t.warnOfImages(&largest[k])
		} else if err := t.try(&largest[k]); err != nil {
			return err
		}
	}
	return nil
}

// largest returns, for each file system, the record with the largest values, in the order of
// the plan.
func (t *Tree) largest(plan *signing.Plan) ([]signing.Record, error) {
	var records []signing.Record
	type most struct{ index, size int }
	found := map[uint64]most{} // by device
	for p, err := range pendingOf(plan) {
		if err != nil {
			return nil, err
		}
		stamp, err := t.planned(&p.record)
		if err != nil {
			return nil, err
		}
		size := 0
		for _, v := range after(&p.record) {
			size += v.Bytes()
		}
		switch m, known := found[stamp.Dev]; {
		case !known:
			found[stamp.Dev] = most{len(records), size}
			records = append(records, p.record)
		case size > m.size:
			found[stamp.Dev] = most{m.index, size}
			records[m.index] = p.record
		}
	}
	return records, nil
}

// after returns the security xattrs that the record's file has after the plan, the largest
// first.
func after(r *signing.Record) (list []xattrspace.Value) {
	values := attachedTo(r)
	add := func(name string, value []byte) {
		if short, ok := strings.CutPrefix(name, "security."); ok && value != nil {
			list = append(list, xattrspace.Value{Name: short, Size: len(value)})
		}
	}
	for name, value := range r.Xattrs {
		if _, changes := values[name]; !changes {
			add(name, value)
		}
	}
	for name, value := range values {
		add(name, value)
	}
	slices.SortFunc(list, func(a, b xattrspace.Value) int {
		if a.Size != b.Size {
			return b.Size - a.Size
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// try sets the xattrs that the record's file is to have on a new file without a name in the
// same directory, which vanishes when it is closed. File systems that have no such files are
// not tried.
func (t *Tree) try(r *signing.Record) error {
	dir, err := t.tree.OpenDir(path.Dir(r.Path))
	if err != nil {
		return nil // attaching reports it, whichever file is the largest
	}
	defer dir.Close() //nolint:errcheck // opened for reading
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil // it is only a test
	}
	file := os.NewFile(uintptr(fd), dir.Name())
	defer file.Close() //nolint:errcheck // nothing was written
	// In place of labels, which a security module may refuse here, xattrs of the same size.
	values := attachedTo(r)
	for name, value := range r.Xattrs {
		if short, ok := strings.CutPrefix(name, "security."); ok && values[name] == nil {
			_ = unix.Fsetxattr(fd, "trusted."+short, value, 0)
		}
	}
	for _, c := range changes(r, r.Xattrs, values) {
		if c.New == nil {
			continue
		}
		if err := unix.Fsetxattr(fd, c.Name, c.New, 0); lacksRoom(err) {
			return fmt.Errorf("%s: %w for %s of %d bytes: %s", t.tree.Name(r.Path), ErrNoRoom, c.Name, len(c.New), roomAdvice(dir, r))
		}
	}
	return nil
}

// lacksRoom reports whether the error of setting an xattr means that there is no room.
func lacksRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ERANGE)
}

// roomAdvice says what makes room for the values of a record on the file system of dir.
func roomAdvice(dir *os.File, r *signing.Record) string {
	const usualInode = 256 // statfs does not tell
	var st unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &st) != nil || st.Type != unix.EXT4_SUPER_MAGIC {
		return "use a key with shorter signatures, such as P-256, or another file system"
	}
	return xattrspace.Ext{Block: int(st.Bsize), Inode: usualInode}.Advice(after(r)...)
}

// pretends refuses values that are too large for fakeroot, whose messages hold 1,024 bytes
// (MAX_IPC_BUFFER_SIZE in its communicate.h): the name of an xattr, a zero byte and the value.
// pseudo has no such limit.
func (t *Tree) pretends(r *signing.Record) error {
	const most = 1024
	for _, v := range r.Changes() {
		if free := most - len(v.Form.Xattr) - 1; t.tree.Preload() == "fakeroot" && len(v.Bytes) > free {
			return fmt.Errorf("%s: %w for %s of %d bytes: fakeroot keeps at most %d: use pseudo, or sign on the way into an archive (imasign-build tar create)", t.tree.Name(r.Path), ErrNoRoom, v.Form.Xattr, len(v.Bytes), free)
		}
	}
	return nil
}

// warnOfImages warns that ext4 images of the tree may have no room. Under pseudo and fakeroot
// xattrs have no limits, but the images that are made there have.
func (t *Tree) warnOfImages(r *signing.Record) {
	values := after(r)
	usual, small := xattrspace.Ext{Block: 4096, Inode: 256}, xattrspace.Ext{Block: 1024, Inode: 256}
	_, inUsual := usual.Place(usual.New(), values...)
	_, inSmall := small.Place(small.New(), values...)
	size := 0
	for _, v := range values {
		size += v.Size
	}
	switch {
	case inUsual != nil:
		t.observe.Warn(t.tree.Name(r.Path), fmt.Sprintf("has xattrs of %d bytes, for which ext4 images have room only with mkfs.ext4 -O ea_inode", size))
	case inSmall != nil:
		t.observe.Warn(t.tree.Name(r.Path), fmt.Sprintf("has xattrs of %d bytes, for which ext4 images of less than 512 MiB have room only with mkfs.ext4 -b 4096 or -O ea_inode", size))
	}
}
