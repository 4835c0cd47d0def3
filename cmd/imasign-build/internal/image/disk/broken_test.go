package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

const size = 64 * mega

// content is an image by its parts; what is between them is zeros.
type content map[int64][]byte

func (c content) ReadAt(b []byte, offset int64) (int, error) {
	clear(b)
	for start, part := range c {
		from, to := max(start, offset), min(start+int64(len(part)), offset+int64(len(b)))
		if from < to {
			copy(b[from-offset:], part[from-start:to-start])
		}
	}
	return len(b), nil
}

// made returns what a program writes to an image of 64 MiB at the places of tables.
func made(t testing.TB, stdin string, places ...int64) content {
	t.Helper()
	file := image(t)
	run(t, stdin, "sfdisk", file)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := content{0: raw[:mega], size - mega: raw[size-mega:]}
	for _, place := range places {
		c[place] = raw[place : place+512]
	}
	return c
}

// seal makes the checksums of a GPT right again.
func seal(c content) {
	header := c[0][512:1024]
	binary.LittleEndian.PutUint32(header[88:], crc32.ChecksumIEEE(c[0][1024:1024+128*128]))
	clear(header[16:20])
	binary.LittleEndian.PutUint32(header[16:], crc32.ChecksumIEEE(header[:92]))
}

const twoGPT = "label: gpt\nsize=10MiB,name=a\nsize=5MiB,name=b\n"

func TestBackup(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, warning string
		backup        bool
		change        func(content)
	}{
		{"header", "the checksum of the header does not match", true, func(c content) { c[0][512+60]++ }},
		{"magic", "no header", true, func(c content) { clear(c[0][512:1024]) }},
		{"entries", "the checksum of the entries does not match", true, func(c content) { c[0][1024+130]++ }},
		{"size of entries", "128 entries of 100 bytes", true, func(c content) { c[0][512+84] = 100; seal(c) }},
		{"larger entries", "64 entries of 256 bytes", true, func(c content) { c[0][512+80], c[0][512+84], c[0][512+85] = 64, 0, 1; seal(c) }},
		{"number of entries", "16777344 entries of 128 bytes", true, func(c content) { c[0][512+83] = 1; seal(c) }},
		{"size of the header", "a header of 600 bytes", true, func(c content) { c[0][512+12], c[0][512+13] = 600&255, 600>>8 }},
		{"place", "a header that belongs to sector 7", true, func(c content) { c[0][512+24] = 7; seal(c) }},
		{"place of entries", "the entries are beyond the end", true, func(c content) { c[0][512+78] = 1; seal(c) }},
		{"backup header", "the backup of the GPT is broken", false, func(c content) { c[size-mega][mega-512+60]++ }},
		{"place of the backup", "the backup of the GPT is beyond the end", false, func(c content) { c[0][512+38] = 1; seal(c) }},
		{"different", "the backup of the GPT differs", false, func(c content) { c[0][1024+60]++; seal(c) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := made(t, twoGPT)
			test.change(c)
			table, err := disk.Read(c, size, 0)
			if err != nil {
				t.Fatal(err)
			}
			if table.Backup != test.backup || len(table.Partitions) != 2 || len(table.Warnings) != 1 || !strings.Contains(table.Warnings[0], test.warning) {
				t.Errorf("got %+v", table)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	const mbr = "label: dos\nsize=10MiB\nsize=5MiB\n"
	number := func(b []byte, n uint32) { binary.LittleEndian.PutUint32(b, n) }
	for _, test := range []struct {
		name, table, want string
		change            func(content)
	}{
		{"both headers", twoGPT, "both GPTs are broken: at the beginning: corrupt: the checksum of the header does not match; at the end: corrupt: the checksum of the entries does not match", func(c content) { c[0][512+60]++; c[size-mega][mega-512-128*128]++ }},
		{"cut off", twoGPT, "the image is cut off: its GPT is for 16908255 sectors or more, it has 131072", func(c content) { c[0][512+51]++; seal(c) }},
		{"no GPT", twoGPT, "a protective MBR without a GPT", func(c content) { clear(c[0][512:]); clear(c[size-mega]) }},
		{"no protective MBR", twoGPT, "a GPT without a protective MBR, which the kernel ignores", func(c content) { clear(c[0][:512]) }},
		{"protective MBR elsewhere", twoGPT, "does not begin at sector 1, so that the kernel ignores the GPT", func(c content) { c[0][446+8]++ }},
		{"gpt overlap", twoGPT, "partitions 1 and 2 overlap", func(c content) { number(c[0][1024+128+32:], 2049); seal(c) }},
		{"gpt beyond the end", twoGPT, "partition 2 ends at sector 281474976743423, beyond the end of the image", func(c content) { c[0][1024+128+46]++; seal(c) }},
		{"gpt backwards", twoGPT, "partition 2 goes from sector 16799744 to 32767", func(c content) { c[0][1024+128+35]++; seal(c) }},
		{"gpt overflow", twoGPT, "beyond the end of the image", func(c content) {
			copy(c[0][1024+128+40:], bytes.Repeat([]byte{255}, 8))
			seal(c)
		}},
		{"gpt in the table", twoGPT, "partition 2 goes from sector 1 to 32767", func(c content) { number(c[0][1024+128+32:], 1); seal(c) }},
		{"mbr overlap", mbr, "partitions 1 and 2 overlap", func(c content) { number(c[0][462+8:], 2049) }},
		{"mbr beyond the end", mbr, "partition 2 ends at sector 131073, beyond the end of the image", func(c content) { number(c[0][462+12:], 128*1024+1-22528) }},
		{"mbr overflow", mbr, "partition 2 ends at sector", func(c content) { number(c[0][462+12:], 1<<32-1) }},
		{"mbr in the table", mbr, "partition 2 begins inside the partition table", func(c content) { number(c[0][462+8:], 0) }},
		{"loop", logical, "the chain of logical partitions has a loop at sector 26624", func(c content) { e := c[16*mega][462:]; e[4] = 5; number(e[8:], 0); number(e[12:], 1) }},
		{"chain outside", logical, "the chain of logical partitions leaves the extended partition at sector 126977", func(c content) { number(c[13*mega][462+8:], 49*2048+1) }},
		{"logical outside", logical, "partition 5 is outside of the extended partition", func(c content) { number(c[13*mega][446+12:], 45*2048) }},
		{"logical in the table", logical, "partition 5 begins inside the partition table", func(c content) { number(c[13*mega][446+8:], 0) }},
		{"third entry", logical, "has more than two entries", func(c content) { number(c[13*mega][478+12:], 1) }},
		{"two chains", logical, "continues twice", func(c content) { c[13*mega][446+4] = 5 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := made(t, test.table, 13*mega, 16*mega)
			test.change(c)
			table, err := disk.Read(c, size, 0)
			if !errors.Is(err, filesystem.ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %+v", err, table)
			}
		})
	}
}

func TestSectorSize(t *testing.T) {
	t.Parallel()
	small := made(t, twoGPT)
	both := made(t, twoGPT)
	copy(both[0][4096:], "EFI PART")
	for _, test := range []struct {
		name   string
		image  content
		size   int64
		sector int64
		want   error
	}{
		{"impossible", small, size, 1024, disk.ErrSectorSize},
		{"stated", small, size, 512, nil},
		{"not this one", small, size, 4096, disk.ErrSectorSize},
		{"both", both, size, 0, disk.ErrSectorSize},
		{"both, stated", both, size, 512, nil},
		{"nothing", content{}, size, 0, disk.ErrNoTable},
		{"short", small, 511, 0, disk.ErrNoTable},
		{"only a boot sector", small, 512, 0, filesystem.ErrCorrupt},
		{"boot program", content{446: {0xeb}, 510: {0x55, 0xaa}}, size, 0, disk.ErrNoTable},
	} {
		if _, err := disk.Read(test.image, test.size, test.sector); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
}

// TestChainEnds reads a chain that ends where no table is, as the kernel does.
func TestChainEnds(t *testing.T) {
	t.Parallel()
	c := made(t, logical, 13*mega, 16*mega)
	clear(c[16*mega])
	table, err := disk.Read(c, size, 0)
	if err != nil || len(table.Partitions) != 4 || len(table.Warnings) != 1 {
		t.Errorf("got %+v, %v", table, err)
	}
}
