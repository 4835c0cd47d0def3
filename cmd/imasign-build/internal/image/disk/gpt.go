package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf16"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const (
	gptMagic    = "EFI PART"
	gptHeader   = 92 // bytes of a header that have a meaning
	gptEntry    = 128
	gptName     = 56 // offset of the name in an entry
	gptNameSize = 72

	// maxEntries is the size in bytes of the largest array of entries that is read. The
	// usual one has 16 KiB.
	maxEntries = 1 << 20
)

// errCutOff means a GPT of an image that was longer.
var errCutOff = errors.New("the image is cut off")

// header is the header of a GPT, with its entries. Numbers of sectors are as stored.
type header struct {
	own, other       uint64 // where this header and the other one are
	firstData, after uint64 // data is in [firstData, after)
	disk             string
	entries          []byte
	entrySize        int
}

// readGPT reads a GPT of sectors of a size that was stated or is found. protected is
// whether an MBR is before it, which is b.
func readGPT(m *image, stated int64, b *bootRecord, protected bool) (*Table, error) {
	sector, err := findGPT(m, stated)
	if err != nil {
		return nil, err
	}
	switch {
	case sector == 0 && !protected:
		return nil, ErrNoTable
	case sector == 0 && stated != 0:
		return nil, fmt.Errorf("%w: a protective MBR, but no GPT for sectors of %d bytes", ErrSectorSize, stated)
	case sector == 0:
		return nil, filesystem.Corrupt("a protective MBR without a GPT")
	case !protected:
		return nil, filesystem.Corrupt("a GPT without a protective MBR, which the kernel ignores")
	case !b.leads():
		return nil, filesystem.Corrupt("a protective MBR that does not begin at sector 1, so that the kernel ignores the GPT")
	}
	m.sector = sector
	t := &Table{Kind: GPT, SectorSize: sector}
	h, err := m.header(1)
	switch {
	case errors.Is(err, errCutOff):
		return nil, err
	case err != nil:
		t.Backup = true
		broken := err
		if h, err = m.header(uint64(m.size/sector) - 1); err != nil {
			return nil, filesystem.Corrupt("both GPTs are broken: at the beginning: %w; at the end: %w", broken, err)
		}
		t.Warnings = append(t.Warnings, fmt.Sprintf("the GPT at the beginning is broken (%v): this is the backup at the end, which the kernel uses only if its command line has the word gpt", broken))
	default:
		t.compare(m, h)
	}
	t.UUID = h.disk
	return t, t.takeEntries(m, h)
}

// findGPT returns the size of the sectors of the GPT, 0 if there is none. A header at the
// beginning decides, then one at the end.
func findGPT(m *image, stated int64) (int64, error) {
	sizes := []int64{smallSector, largeSector}
	if stated != 0 {
		sizes = []int64{stated}
	}
	for _, place := range []func(sector int64) int64{
		func(sector int64) int64 { return sector },
		func(sector int64) int64 { return (m.size/sector - 1) * sector },
	} {
		var found []int64
		for _, s := range sizes {
			if m.size/s < 3 {
				continue
			}
			magic, err := m.at(place(s), int64(len(gptMagic)))
			if err != nil {
				return 0, err
			}
			if string(magic) == gptMagic {
				found = append(found, s)
			}
		}
		switch len(found) {
		case 1:
			return found[0], nil
		case 2:
			return 0, fmt.Errorf("%w: a GPT for sectors of 512 bytes and one for sectors of 4096 bytes", ErrSectorSize)
		}
	}
	return 0, nil
}

// header reads the header at a sector, and its entries.
func (m *image) header(at uint64) (*header, error) {
	raw, err := m.at(int64(at)*m.sector, m.sector)
	if err != nil {
		return nil, err
	}
	number32, number := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	size := number32(raw[12:])
	switch {
	case string(raw[:8]) != gptMagic:
		return nil, filesystem.Corrupt("no header")
	case size < gptHeader || int64(size) > m.sector:
		return nil, filesystem.Corrupt("a header of %d bytes", size)
	}
	stated := number32(raw[16:])
	clear(raw[16:20])
	if crc32.ChecksumIEEE(raw[:size]) != stated {
		return nil, filesystem.Corrupt("the checksum of the header does not match")
	}
	h := &header{
		own: number(raw[24:]), other: number(raw[32:]),
		firstData: number(raw[40:]), after: number(raw[48:]) + 1,
		disk: guid(raw[56:72]),
	}
	if h.own != at {
		return nil, filesystem.Corrupt("a header that belongs to sector %d", h.own)
	}
	if _, _, ok := m.extent(h.after, 0); !ok || h.after == 0 {
		return nil, filesystem.Corrupt("%w: its GPT is for %d sectors or more, it has %d", errCutOff, h.after, m.size/m.sector)
	}
	return h, m.entries(h, number(raw[72:]), number32(raw[80:]), number32(raw[84:]), number32(raw[88:]))
}

// entries reads count entries of size bytes at a sector.
func (m *image) entries(h *header, at uint64, count, size, checksum uint32) error {
	total := uint64(count) * uint64(size)
	if size != gptEntry || total > maxEntries { // the kernel takes no larger entries
		return filesystem.Corrupt("%d entries of %d bytes", count, size)
	}
	start, _, ok := m.extent(at, 0)
	if !ok {
		return filesystem.Corrupt("the entries are beyond the end of the image")
	}
	raw, err := m.at(start, int64(total))
	if err != nil {
		return err
	}
	if crc32.ChecksumIEEE(raw) != checksum {
		return filesystem.Corrupt("the checksum of the entries does not match")
	}
	h.entries, h.entrySize = raw, int(size)
	return nil
}

// compare warns about a backup that is broken or differs. The kernel uses the first GPT.
func (t *Table) compare(m *image, first *header) {
	warn := func(text string) { t.Warnings = append(t.Warnings, text) }
	if _, _, ok := m.extent(first.other, 1); !ok {
		warn("the backup of the GPT is beyond the end of the image")
		return
	}
	backup, err := m.header(first.other)
	switch {
	case err != nil:
		warn(fmt.Sprintf("the backup of the GPT is broken: %v", err))
	case backup.disk != first.disk || !bytes.Equal(backup.entries, first.entries):
		warn("the backup of the GPT differs from the GPT at the beginning")
	}
}

func (t *Table) takeEntries(m *image, h *header) error {
	for i := 0; i < len(h.entries); i += h.entrySize {
		raw, number := h.entries[i:i+h.entrySize], i/h.entrySize+1
		if bytes.Equal(raw[:16], make([]byte, 16)) {
			continue
		}
		first, last := binary.LittleEndian.Uint64(raw[32:]), binary.LittleEndian.Uint64(raw[40:])
		if first < 2 || last < first {
			return filesystem.Corrupt("partition %d goes from sector %d to %d", number, first, last)
		}
		start, size, ok := m.extent(first, last-first+1)
		if !ok || last == ^uint64(0) {
			return filesystem.Corrupt("partition %d ends at sector %d, beyond the end of the image", number, last)
		}
		kind := guid(raw[:16])
		t.Partitions = append(t.Partitions, Partition{
			Number: number, Start: start, Size: size,
			Type: kind, TypeName: gptTypes()[kind], Name: name(raw[gptName : gptName+gptNameSize]), UUID: guid(raw[16:32]),
		})
	}
	return nil
}

// name decodes UTF-16, little-endian, up to the first zero.
func name(raw []byte) string {
	var units []uint16
	for i := 0; i+1 < len(raw); i += 2 {
		u := binary.LittleEndian.Uint16(raw[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// guid is the text of a GUID, whose first three parts are little-endian. The kernel prints
// it in lower case.
func guid(b []byte) string {
	number := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", number.Uint32(b), number.Uint16(b[4:]), number.Uint16(b[6:]), b[8:10], b[10:16])
}
