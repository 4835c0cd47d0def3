package ext4

import (
	"io"
	"sync"
)

// maxCache limits the bytes of a cache.
const maxCache = 2 << 20

// cache keeps blocks of inode tables and xattrs: neighbours of an inode are usually read
// next, and files share xattr blocks. Each block has one place where it can be.
type cache struct {
	r         io.ReaderAt
	blockSize int

	mu     sync.Mutex
	number []uint64 // of the block in each place; zero for none
	block  [][]byte
}

func (c *cache) init(r io.ReaderAt, blockSize int) {
	places := min(maxCache/blockSize, 256)
	c.r, c.blockSize = r, blockSize
	c.number, c.block = make([]uint64, places), make([][]byte, places)
}

// copy copies bytes of a block to b, from an offset in the block. The caller has checked
// that the block, which is not block 0, exists.
func (c *cache) copy(b []byte, number uint64, offset int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := number % uint64(len(c.number))
	if c.number[i] != number {
		if c.block[i] == nil {
			c.block[i] = make([]byte, c.blockSize)
		}
		c.number[i] = 0 // until all of it is there
		if err := readFull(c.r, c.block[i], int64(number)*int64(c.blockSize)); err != nil {
			return err
		}
		c.number[i] = number
	}
	copy(b, c.block[i][offset:])
	return nil
}
