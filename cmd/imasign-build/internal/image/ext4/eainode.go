package ext4

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// value returns a copy of the value of an attribute, never nil.
func (in *inode) value(a *attribute) ([]byte, error) {
	if a.inode == 0 {
		return append([]byte{}, a.value...), nil
	}
	value, err := in.inodeValue(a)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", a.inode, err)
	}
	return value, nil
}

// inodeValue reads the value that is the content of another inode (ext4_xattr_inode_get in
// fs/ext4/xattr.c). Such inodes have no holes.
func (in *inode) inodeValue(a *attribute) ([]byte, error) {
	f := in.fs
	if a.inode > f.inodes || a.inode < f.firstInode || a.inode == in.number {
		return nil, filesystem.Corrupt("no inode for a value")
	}
	v, err := f.decode(a.inode)
	if err != nil {
		return nil, err
	}
	if body, err := v.bodyAttributes(); err != nil || len(body) > 0 || v.xattrs != 0 {
		return nil, filesystem.Corrupt("xattrs of the value of an xattr")
	}
	if v.flags&flagEAInode == 0 || v.flags&flagInline != 0 || v.mode&typeMask != typeFile || v.size != int64(a.size) {
		return nil, filesystem.Corrupt("it is not a value of %d bytes", a.size)
	}
	c, err := f.open(v)
	if err != nil {
		return nil, err
	}
	value := make([]byte, a.size)
	if _, err := c.ReadAt(value, 0); err != nil {
		return nil, err
	}
	return value, in.checkValue(a, v, value)
}

// checkValue compares the hashes of a value: one in place of the value's atime, one in the
// entry. Lustre has another check instead: the value names its owner.
func (in *inode) checkValue(a *attribute, v *inode, value []byte) error {
	owner, generation := le.Uint32(v.raw[0x10:]), le.Uint32(v.raw[0x64:])
	stored := le.Uint32(v.raw[0x08:])
	if a.hash != stored && owner == in.number && generation == le.Uint32(in.raw[0x64:]) {
		return nil
	}
	hash := checksum(in.fs.checksumSeed, value)
	if hash != stored || a.hash != entryHash(a.name, hash, false) && a.hash != entryHash(a.name, hash, true) {
		return filesystem.Corrupt("the hash of the value does not match")
	}
	return nil
}

// entryHash is ext4_xattr_hash_entry in fs/ext4/xattr.c. Once, bytes of names were signed
// on some machines.
func entryHash(name []byte, value uint32, signed bool) (hash uint32) {
	for _, c := range name {
		b := uint32(c)
		if signed {
			b = uint32(int8(c))
		}
		hash = hash<<5 ^ hash>>27 ^ b
	}
	return hash<<16 ^ hash>>16 ^ value
}
