// Package xattrspace computes whether the extended attributes of a file fit into an ext2,
// ext3 or ext4 file system, before anything is written.
//
// ext4 keeps the xattrs of a file in the rest of its inode and in one block. With the feature
// ea_inode, a value for which there is no space there gets an inode of its own. The rules are
// those of libext2fs, which mkfs.ext4 -d and debugfs use (ext2fs_xattr_set in
// lib/ext2fs/ext_attr.c), and of the kernel (ext4_xattr_set_handle in fs/ext4/xattr.c).
//
// Other file systems need no such computation: squashfs and EROFS keep values of any size
// that Linux allows, which is 65,536 bytes. Reading file systems is left to others.
package xattrspace

import (
	"fmt"
	"strings"
)

const (
	oldInode    = 128 // bytes of an inode without the space behind it
	extraSize   = 32  // bytes of that space that new inodes use for fields of their own
	inodeHeader = 4   // of the xattrs in an inode
	blockHeader = 32  // of an xattr block
	end         = 4   // behind the last entry
	entryHeader = 16  // without the name
)

// Value is an xattr that a file is to have.
type Value struct {
	Name string // without its prefix: "ima" for security.ima
	Size int    // of the value, in bytes
}

// Bytes returns the bytes that an xattr takes in an inode or xattr block.
func (v Value) Bytes() int { return roundUp(entryHeader+len(v.Name)) + roundUp(v.Size) }

// roundUp rounds up to the alignment of entries and values.
func roundUp(n int) int { return (n + 3) &^ 3 }

// Ext is an ext2, ext3 or ext4 file system.
type Ext struct {
	Block   int  // bytes of a block
	Inode   int  // bytes of an inode
	EAInode bool // it has the feature ea_inode
}

// Room is the space for xattrs of one file, in bytes as [Value.Bytes] counts them.
type Room struct {
	Inode int // in the inode itself
	Block int // in the xattr block
}

// New returns the room of a new file without xattrs.
func (e Ext) New() Room {
	return Room{Inode: e.InInode(extraSize), Block: e.Block - blockHeader - end}
}

// InInode returns the bytes for xattrs in an inode of which extra bytes behind the first 128
// have other uses.
func (e Ext) InInode(extra int) int {
	return max(e.Inode-oldInode-extra-inodeHeader-end, 0)
}

// Need is what values take.
type Need struct {
	Block  bool // an xattr block
	Inodes int  // that have one value each
	Blocks int  // of these inodes
}

// FullError means that there is no room for a value.
type FullError struct{ Value Value }

func (e *FullError) Error() string {
	return fmt.Sprintf("no room for the xattr %s of %d bytes", e.Value.Name, e.Value.Size)
}

// Place stores values in their order, each in the inode if it fits there, and returns what
// they take. The error is a [*FullError] with the first value for which there is no room.
func (e Ext) Place(room Room, values ...Value) (Need, error) {
	var need Need
	for _, v := range values {
		size := v.Bytes()
		if e.EAInode && (v.Size > e.large() || size > max(room.Inode, room.Block)) {
			need.Inodes++
			need.Blocks += (v.Size + e.Block - 1) / e.Block
			size = Value{Name: v.Name}.Bytes()
		}
		switch {
		case size <= room.Inode:
			room.Inode -= size
		case size <= room.Block:
			room.Block -= size
			need.Block = true
		default:
			return need, &FullError{v}
		}
	}
	return need, nil
}

// large returns the number of bytes beyond which a value always gets an inode of its own
// (EXT4_XATTR_MIN_LARGE_EA_SIZE, which assumes a name of three bytes).
func (e Ext) large() int {
	return e.Block - Value{Name: "ima"}.Bytes() - blockHeader - end
}

// Remedies returns options of mkfs.ext4, each of which alone makes room for the values of a
// new file. Larger blocks and inodes come before ea_inode, which old kernels and boot loaders
// do not know.
func (e Ext) Remedies(values ...Value) []string {
	var options []string
	try := func(other Ext, option string) bool {
		if other.Inode > other.Block {
			return false
		}
		_, err := other.Place(other.New(), values...)
		if err == nil {
			options = append(options, option)
		}
		return err == nil
	}
	if e.Block < 4096 {
		try(Ext{4096, e.Inode, e.EAInode}, "-b 4096")
	}
	for size := max(e.Inode, oldInode) * 2; size <= 1024; size *= 2 {
		if try(Ext{e.Block, size, e.EAInode}, fmt.Sprintf("-I %d", size)) {
			break
		}
	}
	if !e.EAInode {
		try(Ext{e.Block, e.Inode, true}, "-O ea_inode")
	}
	return options
}

// Advice says what makes room for the values of a file, as the end of an error.
func (e Ext) Advice(values ...Value) string {
	var remedies, made []string
	for _, option := range e.Remedies(values...) {
		if option == "-O ea_inode" {
			remedies = append(remedies, "turn on ea_inode (tune2fs -O ea_inode)")
		} else {
			made = append(made, option)
		}
	}
	if len(made) > 0 {
		remedies = append(remedies, "make the file system with mkfs.ext4 "+strings.Join(made, " or "))
	}
	return strings.Join(append(remedies, "use a key with shorter signatures, such as P-256"), ", or ")
}
