package squashfs

import (
	"encoding/binary"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// lookup returns an entry of a table whose metadata blocks are listed, by their offsets,
// at an offset of the image. All blocks but the last are full. size is that of each entry
// and divides the size of a block.
func (f *FileSystem) lookup(list uint64, index uint32, size int64) ([]byte, error) {
	at := int64(index) * size
	var position [8]byte
	if list >= uint64(f.used) {
		return nil, filesystem.Corrupt("a table at offset %d of %d bytes", list, f.used)
	}
	if err := f.read(position[:], int64(list)+at/metadataSize*8); err != nil {
		return nil, err
	}
	block, err := f.metadataAt(int64(binary.LittleEndian.Uint64(position[:])))
	if err != nil {
		return nil, err
	}
	if at %= metadataSize; at+size > int64(len(block.data)) {
		return nil, filesystem.Corrupt("entry %d is behind the end of its table", index)
	}
	return block.data[at : at+size], nil
}

// readOwners reads the table of user and group ids, which has at most 65,535 entries.
func (f *FileSystem) readOwners() error {
	f.owners = make([]uint32, 0, f.ids)
	for i := range uint32(f.ids) {
		b, err := f.lookup(f.ownerTable, i, 4)
		if err != nil {
			return err
		}
		f.owners = append(f.owners, binary.LittleEndian.Uint32(b))
	}
	return nil
}

// readFragment decodes a data block that holds the tails of several files. Files that are
// read at the same time often have their tails in the same fragment. Then one goroutine
// decodes it, and the others decode the fragments behind it instead of waiting idly.
func (f *FileSystem) readFragment(index uint32) ([]byte, error) {
	if index >= f.fragments {
		return nil, filesystem.Corrupt("fragment %d of %d", index, f.fragments)
	}
	return f.fragmentAhead(index, f.fragment.max/2)
}

// fragmentAhead is readFragment that decodes at most ahead further fragments.
func (f *FileSystem) fragmentAhead(index uint32, ahead int) ([]byte, error) {
	var meanwhile func()
	if ahead > 0 && index+1 < f.fragments {
		meanwhile = func() { _, _ = f.fragmentAhead(index+1, ahead-1) } // an error is reported to whoever needs it
	}
	return f.fragment.get(int64(index), func() ([]byte, error) {
		b, err := f.lookup(f.fragmentTable, index, 16)
		if err != nil {
			return nil, fmt.Errorf("fragment table: %w", err)
		}
		stored, err := f.dataBlock(binary.LittleEndian.Uint32(b[8:]), int64(binary.LittleEndian.Uint64(b)))
		if err != nil {
			return nil, err
		}
		data := make([]byte, f.blockSize)
		n, err := f.readData(data, stored)
		if err != nil {
			return nil, fmt.Errorf("fragment %d: %w", index, err)
		}
		return data[:n], nil
	}, meanwhile)
}

// checkOptions refuses options of the compressor that change its format.
func (f *FileSystem) checkOptions() error {
	if f.flags&hasOptions == 0 {
		return nil
	}
	c, err := f.cursorAt(superblockSize, 0)
	if err != nil {
		return err
	}
	if f.compression != compressionLZ4 {
		return nil
	}
	version, err := c.uint32()
	if err == nil && version != 1 {
		err = filesystem.Unsupported("LZ4 format %d", version)
	}
	return err
}
