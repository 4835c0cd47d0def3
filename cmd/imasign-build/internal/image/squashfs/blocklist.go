package squashfs

// blockList finds the data blocks of a file. The list has only their sizes, so that each
// position is the sum of the sizes before. It is not kept in memory, because a file with
// holes may state billions of blocks: the list is read forward, and anew to go back.
type blockList struct {
	f     *FileSystem
	begin cursor // at the first size
	start int64  // of the first block in the image

	cursor cursor // at the size of the next block
	next   int64  // its index
	at     int64  // its position
	last   stored // the block before
}

func newBlockList(f *FileSystem, in *inode) blockList {
	l := blockList{f: f, begin: in.rest, start: int64(in.start)}
	l.rewind()
	return l
}

func (l *blockList) rewind() { l.cursor, l.next, l.at = l.begin, 0, l.start }

// find returns the place of a block.
func (l *blockList) find(index int64) (stored, error) {
	if index < l.next-1 {
		l.rewind()
	}
	for l.next <= index {
		if err := l.forward(); err != nil {
			l.rewind() // so that the same is found again
			return stored{}, err
		}
	}
	return l.last, nil
}

// forward reads one size.
func (l *blockList) forward() error {
	size, err := l.cursor.uint32()
	if err != nil {
		return err
	}
	if l.last, err = l.f.dataBlock(size, l.at); err != nil {
		return err
	}
	l.at += l.last.size // read compares it with the size of the image
	l.next++
	return nil
}
