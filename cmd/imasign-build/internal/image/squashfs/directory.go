package squashfs

import (
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

const (
	// sizeOfNothing is the size of an empty directory: the kernel counts "." and "..".
	sizeOfNothing = 3

	maxRun  = 256 // entries after one header
	maxName = 256 // bytes
)

// ReadDir passes take the names in a directory, in byte order: runs of entries, each after
// a header with the metadata block of their inodes. It refuses directories in which the
// kernel does not find the names, or finds other files by them.
func (f *FileSystem) ReadDir(id filesystem.ID, take func(filesystem.Dirent) error) error {
	in, err := f.inode(id)
	if err != nil {
		return err
	}
	if in.kind != typeDirectory {
		return filesystem.Corrupt("not a directory")
	}
	if err := f.numbers.claim(in.number, id); err != nil {
		return err
	}
	left := in.size - sizeOfNothing
	if left <= 0 {
		return nil
	}
	c, err := f.cursorAt(f.directoryTable, in.start<<16|uint64(in.offset))
	if err != nil {
		return err
	}
	d := directory{cursor: c, indexes: indexes{cursor: in.rest, left: in.indexes}, take: take}
	for d.size < left {
		if err := d.run(); err != nil {
			return err
		}
	}
	if d.size > left {
		return filesystem.Corrupt("a directory that ends in an entry")
	}
	return d.indexes.end()
}

// directory reads the entries of a directory.
type directory struct {
	cursor
	indexes indexes
	take    func(filesystem.Dirent) error
	size    int64  // of what was read, in bytes
	last    string // name
}

// run reads a header and its entries.
func (d *directory) run() error {
	at, block := d.size, d.position()
	b, err := d.next(12)
	if err != nil {
		return err
	}
	count, inodes, number := u32(b), uint64(u32(b[4:])), u32(b[8:])
	if count >= maxRun {
		return filesystem.Corrupt("a run of %d directory entries", uint64(count)+1)
	}
	d.size += int64(len(b))
	for i := range count + 1 {
		if b, err = d.next(8); err != nil {
			return err
		}
		inode, length := filesystem.ID(inodes<<16|uint64(u16(b))), int(u16(b[6:]))+1
		n := number + uint32(int16(u16(b[2:])))
		if length > maxName {
			return filesystem.Corrupt("a name of %d bytes", length)
		}
		if b, err = d.next(length); err != nil {
			return err
		}
		name := string(b)
		if i == 0 {
			err = d.indexes.pass(at, block-int64(d.f.directoryTable), name)
		}
		if err == nil {
			err = d.entry(name, inode, n)
		}
		if err != nil {
			return err
		}
		d.size += 8 + int64(length)
	}
	return nil
}

// entry checks an entry and takes it. The kernel's search ends at a name that is larger.
func (d *directory) entry(name string, id filesystem.ID, number uint32) error {
	if name <= d.last {
		return filesystem.Corrupt("the name %s is out of order", quote.Name(name))
	}
	d.last = name
	in, err := d.f.inode(id)
	switch {
	case err != nil:
	case in.number != number:
		err = filesystem.Corrupt("inode %d, which is inode %d", number, in.number)
	default:
		err = d.f.numbers.claim(number, id)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", quote.Name(name), err)
	}
	return d.take(filesystem.Dirent{Name: name, ID: id})
}
