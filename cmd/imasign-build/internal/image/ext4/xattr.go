package ext4

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	xattrMagic      = 0xEA020000
	xattrHeader     = 32 // of an xattr block
	xattrBodyHeader = 4  // of the xattrs in an inode
	xattrEntry      = 16 // without the name
	maxValue        = 64 << 10
)

// Name indexes of xattrs.
const (
	indexACL        = 2
	indexDefaultACL = 3
	indexSystem     = 7
)

// prefixes are those of the name indexes that the kernel shows. Of others, index 7 has the
// inline data, 9 belongs to encryption.
var prefixes = map[byte]string{
	1: "user.", indexACL: "system.posix_acl_access", indexDefaultACL: "system.posix_acl_default", 4: "trusted.", 6: "security.", 10: "gnu.",
}

// attribute is a decoded struct ext4_xattr_entry.
type attribute struct {
	index byte
	name  []byte // without the prefix
	value []byte // unless it is in an inode
	inode uint32 // that has the value, zero for none
	size  uint32
	hash  uint32
}

// Xattrs returns all xattrs by their full names. ACLs have the form of system calls.
func (f *FileSystem) Xattrs(id filesystem.ID) (map[string][]byte, error) {
	in, err := f.file(id)
	if err != nil {
		return nil, err
	}
	body, err := in.bodyAttributes()
	if err != nil {
		return nil, err
	}
	block, _, err := in.blockAttributes()
	if err != nil {
		return nil, err
	}
	values, left := map[string][]byte{}, filesystem.MaxXattrs
	for _, a := range append(body, block...) {
		if left -= int(a.size); left < 0 {
			return nil, fmt.Errorf("%w: xattrs with more than %d bytes", filesystem.ErrLimit, filesystem.MaxXattrs)
		}
		if err := in.addXattr(values, &a); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// addXattr adds an xattr to values, unless the kernel hides it.
func (in *inode) addXattr(values map[string][]byte, a *attribute) error {
	prefix, shown := prefixes[a.index]
	if !shown {
		return nil
	}
	name := prefix + string(a.name)
	isACL := a.index == indexACL || a.index == indexDefaultACL
	if isACL != (len(a.name) == 0) {
		return filesystem.Corrupt("an xattr is named %s", quote.Name(name))
	}
	if _, twice := values[name]; twice {
		return filesystem.Corrupt("it has the xattr %s twice", quote.Name(name))
	}
	value, err := in.value(a)
	if err == nil && isACL {
		value, err = aclFromDisk(value)
	}
	if err != nil {
		return fmt.Errorf("xattr %s: %w", quote.Name(name), err)
	}
	if value != nil {
		values[name] = value
	}
	return nil
}

// bodyAttributes returns the xattrs in the inode itself.
func (in *inode) bodyAttributes() ([]attribute, error) {
	b := in.raw[minInodeSize+in.extra:]
	if in.extra == 0 || len(b) < xattrBodyHeader || le.Uint32(b) != xattrMagic {
		return nil, nil
	}
	if b = b[xattrBodyHeader:]; len(b) < 4 {
		return nil, filesystem.Corrupt("no space for the xattrs in the inode")
	}
	return in.attributes(b, b)
}

// blockAttributes returns the xattrs in the inode's xattr block, and how many inodes share
// the block.
func (in *inode) blockAttributes() (list []attribute, shared uint32, err error) {
	if in.xattrs == 0 {
		return nil, 0, nil
	}
	b := make([]byte, in.fs.blockSize)
	if err := in.fs.cache.copy(b, in.xattrs, 0); err != nil {
		return nil, 0, err
	}
	if le.Uint32(b) != xattrMagic || le.Uint32(b[8:]) != 1 {
		return nil, 0, filesystem.Corrupt("block %d has no xattrs", in.xattrs)
	}
	if err := in.fs.checkXattrs(in.xattrs, b); err != nil {
		return nil, 0, err
	}
	if list, err = in.attributes(b[xattrHeader:], b); err != nil {
		return nil, 0, err
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].compare(&list[i]) >= 0 { // the kernel stops its search too early
			return nil, 0, filesystem.Corrupt("xattrs in block %d are not in order", in.xattrs)
		}
	}
	return list, le.Uint32(b[4:]), nil
}

// compare orders attributes as they are in blocks.
func (a *attribute) compare(b *attribute) int {
	return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), bytes.Compare(a.name, b.name))
}

// attributes decodes entries, a list that ends with four zero bytes. Offsets of values
// count from the beginning of base, which ends where entries does.
func (in *inode) attributes(entries, base []byte) (list []attribute, err error) {
	rest, named := entries, 0
	for le.Uint32(rest) != 0 {
		n := (xattrEntry + int(rest[0]) + 3) &^ 3
		if n+4 > len(rest) || len(rest) < xattrEntry {
			return nil, filesystem.Corrupt("an xattr entry is cut off")
		}
		named, rest = named+n, rest[n:]
	}
	firstValue := len(base) - len(entries) + named + 4
	for rest = entries; le.Uint32(rest) != 0; {
		n := (xattrEntry + int(rest[0]) + 3) &^ 3
		a, err := in.attribute(rest[:n], base, firstValue)
		if err != nil {
			return nil, err
		}
		list, rest = append(list, a), rest[n:]
	}
	return list, nil
}

// attribute decodes one entry. Values begin at or behind firstValue in base.
func (in *inode) attribute(entry, base []byte, firstValue int) (a attribute, err error) {
	a = attribute{
		index: entry[1], name: entry[xattrEntry : xattrEntry+int(entry[0])],
		inode: le.Uint32(entry[4:]), size: le.Uint32(entry[8:]), hash: le.Uint32(entry[12:]),
	}
	offset := int(le.Uint16(entry[2:]))
	switch {
	case bytes.IndexByte(a.name, 0) >= 0:
		return a, filesystem.Corrupt("an xattr is named %s", quote.Name(string(a.name)))
	case a.size > maxValue:
		return a, filesystem.Corrupt("an xattr of %d bytes", a.size)
	case a.inode != 0 && (in.fs.features.incompat&eaInodes == 0 || a.size == 0):
		return a, filesystem.Corrupt("the value of an xattr is in an inode")
	case a.inode != 0 || a.size == 0:
		return a, nil
	case offset < firstValue || offset+roundUp(int(a.size)) > len(base):
		return a, filesystem.Corrupt("the value of an xattr is at %d of %d", offset, len(base))
	}
	a.value = base[offset : offset+int(a.size)]
	return a, nil
}

// roundUp rounds up to the alignment of entries and values.
func roundUp(n int) int { return (n + 3) &^ 3 }
