package disk

import (
	"encoding/binary"
	"fmt"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	bootDiskID  = 440 // offset of the disk's identifier
	bootEntries = 446 // offset of the four entries
	bootMagic   = 510
	entrySize   = 16

	protective = 0xee // type of the entry that covers a GPT

	// maxLogical is how many logical partitions the kernel can show (DISK_MAX_PARTS).
	maxLogical = 251
)

// entry is an entry of an MBR, or of a table in an extended partition.
type entry struct {
	boot, kind   byte
	start, count uint32 // in sectors
}

// used is what the kernel goes by. The type may be zero.
func (e entry) used() bool { return e.count != 0 }

func (e entry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// bootRecord is an MBR.
type bootRecord struct {
	id      uint32
	entries [4]entry
}

// parseBoot reads a boot record from a sector. ok is false if it is none.
func parseBoot(sector []byte) (b bootRecord, ok bool) {
	if sector[bootMagic] != 0x55 || sector[bootMagic+1] != 0xaa {
		return bootRecord{}, false
	}
	b.id = binary.LittleEndian.Uint32(sector[bootDiskID:])
	for i := range b.entries {
		raw := sector[bootEntries+i*entrySize:]
		e := entry{raw[0], raw[4], binary.LittleEndian.Uint32(raw[8:]), binary.LittleEndian.Uint32(raw[12:])}
		if e.boot != 0 && e.boot != 0x80 {
			return bootRecord{}, false // a program that boots
		}
		b.entries[i] = e
	}
	return b, true
}

// protects reports whether the disk has a GPT. A hybrid MBR has other entries as well,
// which the kernel ignores.
func (b bootRecord) protects() bool {
	for _, e := range b.entries {
		if e.kind == protective {
			return true
		}
	}
	return false
}

// leads reports whether the kernel looks for the GPT (pmbr_part_valid in
// block/partitions/efi.c). A kernel without GPT takes the other entries.
func (b bootRecord) leads() bool {
	for _, e := range b.entries {
		if e.kind == protective && e.start == 1 {
			return true
		}
	}
	return false
}

// mbrReader collects the partitions of an MBR.
type mbrReader struct {
	*image
	table *Table
	id    uint32
	seen  map[uint64]bool // tables in extended partitions, by their sector
}

func readMBR(m *image, b bootRecord) (*Table, error) {
	t := &Table{Kind: MBR, SectorSize: m.sector, UUID: fmt.Sprintf("%08x", b.id)}
	c := &mbrReader{m, t, b.id, map[uint64]bool{}}
	for i, e := range b.entries {
		if !e.used() {
			continue
		}
		if e.start == 0 {
			return nil, filesystem.Corrupt("partition %d begins inside the partition table", i+1)
		}
		if err := c.add(i+1, e, uint64(e.start)); err != nil {
			return nil, err
		}
	}
	next := 5
	for _, p := range t.Partitions {
		if !p.Extended {
			continue
		}
		var err error
		if next, err = c.logical(p, next); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// add adds a partition that begins at a sector of the disk.
func (c *mbrReader) add(number int, e entry, first uint64) error {
	start, size, ok := c.extent(first, uint64(e.count))
	if !ok {
		return filesystem.Corrupt("partition %d ends at sector %d, beyond the end of the image", number, first+uint64(e.count))
	}
	kind := fmt.Sprintf("%02x", e.kind)
	c.table.Partitions = append(c.table.Partitions, Partition{
		Number: number, Start: start, Size: size, Extended: e.extended() && number < 5,
		Type: kind, TypeName: mbrTypes()[e.kind], UUID: fmt.Sprintf("%08x-%02x", c.id, number),
	})
	return nil
}

// logical follows the chain of tables in an extended partition. Each has a logical
// partition, relative to the table, and the next table, relative to the extended
// partition. It returns the next free number.
func (c *mbrReader) logical(extended Partition, next int) (int, error) {
	first := uint64(extended.Start / c.sector)
	for at := first; ; {
		if c.seen[at] {
			return 0, filesystem.Corrupt("the chain of logical partitions has a loop at sector %d", at)
		}
		c.seen[at] = true
		b, err := c.chained(extended, at)
		if err != nil || b == nil {
			return next, err
		}
		var following uint64
		for _, e := range b.entries[:2] {
			switch {
			case !e.used():
			case e.extended() && following != 0:
				return 0, filesystem.Corrupt("the table of logical partitions at sector %d continues twice", at)
			case e.extended():
				following = first + uint64(e.start)
			case next >= 5+maxLogical:
				return 0, filesystem.Corrupt("more than %d logical partitions", maxLogical)
			default:
				if err := c.addLogical(extended, next, e, at); err != nil {
					return 0, err
				}
				next++
			}
		}
		if following == 0 {
			return next, nil
		}
		at = following
	}
}

func (c *mbrReader) addLogical(extended Partition, number int, e entry, table uint64) error {
	if e.start == 0 {
		return filesystem.Corrupt("partition %d begins inside the partition table", number)
	}
	if err := c.add(number, e, table+uint64(e.start)); err != nil {
		return err
	}
	p := c.table.Partitions[len(c.table.Partitions)-1]
	if p.Start < extended.Start || p.Start+p.Size > extended.Start+extended.Size {
		return filesystem.Corrupt("partition %d is outside of the extended partition", number)
	}
	return nil
}

// chained reads a table in an extended partition; nil is the end of the chain.
func (c *mbrReader) chained(extended Partition, at uint64) (*bootRecord, error) {
	start, _, ok := c.extent(at, 1)
	if !ok || start < extended.Start || start >= extended.Start+extended.Size {
		return nil, filesystem.Corrupt("the chain of logical partitions leaves the extended partition at sector %d", at)
	}
	sector, err := c.at(start, smallSector)
	if err != nil {
		return nil, err
	}
	b, ok := parseBoot(sector)
	if !ok {
		c.table.Warnings = append(c.table.Warnings, fmt.Sprintf("the chain of logical partitions ends at sector %d without a table", at))
		return nil, nil
	}
	if b.entries[2].used() || b.entries[3].used() {
		return nil, filesystem.Corrupt("the table of logical partitions at sector %d has more than two entries", at)
	}
	return &b, nil
}
