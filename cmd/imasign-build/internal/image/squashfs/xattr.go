package squashfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	outOfLine = 1 << 8 // in the type of an xattr: its value is elsewhere
	knownBits = 1<<9 - 1

	maxValue = 64 << 10 // bytes; XATTR_SIZE_MAX of the kernel
	maxNames = 64 << 10 // bytes of all names of a file; XATTR_LIST_MAX of the kernel
)

// xattrSets is the table of the sets of xattrs: files with the same xattrs share a set.
type xattrSets struct {
	count  uint32
	list   uint64 // where the offsets of the table's blocks are listed
	values uint64 // where the table with the xattrs themselves begins
}

// readXattrSets reads struct squashfs_xattr_id_table.
func (f *FileSystem) readXattrSets() (xattrSets, error) {
	if f.xattrTable == none {
		return xattrSets{}, nil
	}
	if f.xattrTable >= uint64(f.used) {
		return xattrSets{}, filesystem.Corrupt("a table at offset %d of %d bytes", f.xattrTable, f.used)
	}
	b := make([]byte, 16)
	if err := f.read(b, int64(f.xattrTable)); err != nil {
		return xattrSets{}, err
	}
	s := xattrSets{count: u32(b[8:]), list: f.xattrTable + uint64(len(b)), values: binary.LittleEndian.Uint64(b)}
	if s.values >= uint64(f.used) {
		return xattrSets{}, filesystem.Corrupt("a table at offset %d of %d bytes", s.values, f.used)
	}
	return s, nil
}

// Xattrs returns the xattrs of an inode. As in the kernel, those with an unknown type, and
// all of an image without a table of xattrs, do not exist.
func (f *FileSystem) Xattrs(id filesystem.ID) (map[string][]byte, error) {
	in, err := f.inode(id)
	if err != nil || in.xattrs == noIndex || f.xattrTable == none {
		return nil, err
	}
	if in.xattrs >= f.sets.count {
		return nil, filesystem.Corrupt("set of xattrs %d of %d", in.xattrs, f.sets.count)
	}
	b, err := f.lookup(f.sets.list, in.xattrs, 16)
	if err != nil {
		return nil, err
	}
	c, err := f.cursorAt(f.sets.values, binary.LittleEndian.Uint64(b))
	if err != nil {
		return nil, err
	}
	return c.xattrs(u32(b[8:]))
}

// xattrs reads a set of xattrs.
func (c *cursor) xattrs(count uint32) (map[string][]byte, error) {
	set := map[string][]byte{}
	names, total := 0, 0
	for range count {
		name, known, reference, err := c.xattrName()
		if err != nil {
			return nil, err
		}
		value, err := c.xattrValue(reference)
		if err != nil {
			return nil, err
		}
		names, total = names+len(name)+1, total+len(value)
		switch _, before := set[name]; {
		case names > maxNames, total > filesystem.MaxXattrs:
			return nil, fmt.Errorf("%w: xattrs with names of %d bytes and values of %d", filesystem.ErrLimit, names, total)
		case known && before:
			return nil, filesystem.Corrupt("the xattr %s repeats", quote.Name(name))
		case known:
			set[name] = slices.Clone(value)
		}
	}
	return set, nil
}

// xattrName reads the name of an xattr. known is whether the kernel has its type,
// reference whether a reference to the value follows in place of the value.
func (c *cursor) xattrName() (name string, known, reference bool, err error) {
	b, err := c.next(4)
	if err != nil {
		return "", false, false, err
	}
	kind := u16(b)
	if b, err = c.next(int(u16(b[2:]))); err != nil {
		return "", false, false, err
	}
	if len(b) == 0 || len(b) > 255 || bytes.IndexByte(b, 0) >= 0 {
		return "", false, false, filesystem.Corrupt("an xattr is named %s", quote.Name(string(b)))
	}
	prefixes := [...]string{"user.", "trusted.", "security."}
	if i := int(kind & 0xff); i < len(prefixes) {
		if kind&^knownBits != 0 { // the kernel does not list it, but finds it
			return "", false, false, filesystem.Corrupt("the xattr %s has type %#x", quote.Name(prefixes[i]+string(b)), kind)
		}
		return prefixes[i] + string(b), true, kind&outOfLine != 0, nil
	}
	return string(b), false, false, nil
}

// xattrValue reads the value of an xattr, or follows the reference that is there.
func (c *cursor) xattrValue(reference bool) ([]byte, error) {
	n, err := c.uint32()
	if err != nil {
		return nil, err
	}
	if n > maxValue {
		return nil, filesystem.Corrupt("an xattr of %d bytes", n)
	}
	b, err := c.next(int(n))
	if err != nil || !reference {
		return b, err
	}
	if len(b) != 8 {
		return nil, filesystem.Corrupt("a reference of %d bytes to an xattr", len(b))
	}
	there, err := c.f.cursorAt(c.f.sets.values, binary.LittleEndian.Uint64(b))
	if err != nil {
		return nil, err
	}
	return there.xattrValue(false)
}
