// Package disk reads the partition table of an image: an MBR with its logical partitions,
// or a GPT with its backup. It finds what the kernel finds (block/partitions/msdos.c,
// efi.c), with the same numbers, and refuses tables that no partitioning program writes,
// such as partitions that overlap or end beyond the image.
//
// A boot sector of a file system looks like an MBR. Callers look for file systems first.
package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// Kind is the kind of a partition table.
type Kind string

// The kinds.
const (
	MBR Kind = "MBR"
	GPT Kind = "GPT"
)

// ErrNoTable means an image without a partition table.
var ErrNoTable = errors.New("no partition table")

// ErrSectorSize means an image that has tables for sectors of both sizes, or none for
// sectors of the size that the caller stated. The caller can state the other size.
var ErrSectorSize = errors.New("the size of sectors is in doubt")

const (
	smallSector = 512
	largeSector = 4096
)

// Table is a partition table.
type Table struct {
	Kind       Kind
	SectorSize int64  // in bytes, 512 or 4096
	UUID       string // as blkid prints PTUUID
	Partitions []Partition
	// Backup means that the GPT at the beginning is broken, and that this is the one at the
	// end. The kernel uses it only if its command line has the word "gpt".
	Backup bool
	// Warnings are about what does not matter for reading, such as a broken backup.
	Warnings []string
}

// Partition is one partition of a table.
type Partition struct {
	// Number is the kernel's: 2 for sda2. Logical partitions begin at 5.
	Number      int
	Start, Size int64 // in bytes
	// Extended means the container of the logical partitions of an MBR. It has no content
	// of its own.
	Extended bool
	Type     string // two hexadecimal digits for an MBR, a GUID for a GPT
	TypeName string // what sfdisk calls the type; "" for types that are rare in images
	Name     string // of a GPT, raw and from outside; "" for none
	UUID     string // as the kernel's PARTUUID= has it
}

// image is the image that a table is in.
type image struct {
	r      io.ReaderAt
	size   int64 // in bytes
	sector int64 // size of a sector in bytes
}

// at reads n bytes at an offset. It is an error if the image ends before.
func (m *image) at(offset, n int64) ([]byte, error) {
	if offset < 0 || offset > m.size || n > m.size-offset {
		return nil, filesystem.Corrupt("%d bytes at byte %d are beyond the end of the image", n, offset)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(m.r, offset, n), b); err != nil {
		return nil, fmt.Errorf("read %d bytes at byte %d: %w", n, offset, err)
	}
	return b, nil
}

// extent converts sectors to bytes. ok is false if they do not fit in the image.
func (m *image) extent(first, count uint64) (start, size int64, ok bool) {
	total := uint64(m.size) / uint64(m.sector)
	if first > total || count > total-first {
		return 0, 0, false
	}
	return int64(first) * m.sector, int64(count) * m.sector, true
}

// Read reads the partition table of an image of size bytes. sector is the size of its
// sectors in bytes, 512 or 4096; with 0, a GPT shows it, and for an MBR it is 512. Errors
// wrap ErrNoTable, ErrSectorSize or filesystem.ErrCorrupt, or are those of r.
func Read(r io.ReaderAt, size, sector int64) (*Table, error) {
	if sector != 0 && sector != smallSector && sector != largeSector {
		return nil, fmt.Errorf("%w: sectors have 512 or 4096 bytes, not %d", ErrSectorSize, sector)
	}
	m := &image{r, size, cmp.Or(sector, smallSector)}
	if size < smallSector {
		return nil, ErrNoTable
	}
	boot, err := m.at(0, smallSector)
	if err != nil {
		return nil, err
	}
	var t *Table
	switch b, isMBR := parseBoot(boot); {
	case !isMBR || b.protects():
		t, err = readGPT(m, sector, &b, isMBR)
	default:
		t, err = readMBR(m, b)
	}
	if err != nil {
		return nil, err
	}
	return t, t.check(size)
}

// check refuses partitions that overlap.
func (t *Table) check(size int64) error {
	var all []Partition
	for _, p := range t.Partitions {
		if p.Start < 0 || p.Size <= 0 || p.Size > size-p.Start {
			return filesystem.Corrupt("partition %d ends beyond the end of the image, which has %d bytes", p.Number, size)
		}
		if !p.Extended {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Partition) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(all); i++ {
		if before, p := all[i-1], all[i]; p.Start-before.Start < before.Size {
			return filesystem.Corrupt("partitions %d and %d overlap", before.Number, p.Number)
		}
	}
	return nil
}
