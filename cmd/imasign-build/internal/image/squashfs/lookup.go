package squashfs

import (
	"hash/maphash"
	"sync"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/internal/quote"
)

// indexes are the indexes of a directory (struct squashfs_dir_index), in which the kernel
// looks up where to begin its search for a name: at the last one that is not after it.
type indexes struct {
	cursor cursor
	left   int

	loaded bool
	at     int64 // in the directory, in bytes
	block  int64 // position in the directory table
	name   string
}

// load reads the next index, if there is one.
func (x *indexes) load() error {
	if x.loaded || x.left == 0 {
		return nil
	}
	b, err := x.cursor.next(12)
	if err != nil {
		return err
	}
	at, block, length := int64(u32(b)), int64(u32(b[4:])), uint64(u32(b[8:]))+1
	if length > maxName {
		return filesystem.Corrupt("an index with a name of %d bytes", length)
	}
	if b, err = x.cursor.next(int(length)); err != nil {
		return err
	}
	x.loaded, x.at, x.block, x.name = true, at, block, string(b)
	return nil
}

// pass compares the next index with a header, which is at a number of bytes in the
// directory, in the block at a position of the directory table. name is the name of the first
// entry.
func (x *indexes) pass(at, block int64, name string) error {
	if err := x.load(); err != nil || !x.loaded || x.at > at {
		return err
	}
	if x.at != at || x.block != block || x.name != name {
		return filesystem.Corrupt("the index of %s leads to byte %d of the directory in block %d, where %s is at byte %d in block %d",
			quote.Name(x.name), x.at, x.block, quote.Name(name), at, block)
	}
	x.loaded = false
	x.left--
	return nil
}

// end is called at the end of the directory.
func (x *indexes) end() error {
	if x.left > 0 {
		return filesystem.Corrupt("%d indexes lead to no header of the directory", x.left)
	}
	return nil
}

// maxNumber is the largest number of an inode. mksquashfs and others count from 1.
const maxNumber = 1 << 22

// numbers are the numbers of inodes. The kernel knows inodes by their numbers: of two with
// the same number, it shows the one that it meets first in place of both.
type numbers struct {
	mu   sync.Mutex
	seed maphash.Seed
	sums []uint32 // of the IDs, by number; zero for none
}

// claim notes which inode has a number. It is an error if another one has it.
func (n *numbers) claim(number uint32, id filesystem.ID) error {
	if number == 0 || number > maxNumber {
		return filesystem.Corrupt("an inode with the number %d", number)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sums == nil {
		n.seed = maphash.MakeSeed()
	}
	if more := int(number) + 1 - len(n.sums); more > 0 {
		n.sums = append(n.sums, make([]uint32, more)...)
	}
	sum := uint32(maphash.Comparable(n.seed, id)) | 1
	if before := n.sums[number]; before != 0 && before != sum {
		return filesystem.Corrupt("several inodes have the number %d", number)
	}
	n.sums[number] = sum
	return nil
}
