package simulate

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
)

// FuzzKind checks that no content makes the examination of a file panic.
func FuzzKind(f *testing.F) {
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(program)
	f.Add(smallELF(0, 0x40, "liba.so\x00$ORIGIN/lib\x00"))
	f.Add([]byte("#! /bin/sh -e\n"))
	f.Add([]byte("x" + modsigMagic))
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := kindOf(bytes.NewReader(content), &Node{Path: "lib/modules/a.ko", Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
	})
}

// smallELF is a shared object of its dynamic section and strings, "liba.so" and a
// DT_RUNPATH behind it. The section has flags, and says that it has size bytes.
func smallELF(flags, size uint64, strs string) []byte {
	const header, section = 64, 64
	put := binary.LittleEndian.AppendUint64
	put4 := binary.LittleEndian.AppendUint32
	b := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x03\x00\x3e\x00\x01\x00\x00\x00")
	b = put(put(put(b, 0), 0), header)                                    // entry, program headers, section headers
	b = append(put4(b, 0), header, 0, 0, 0, 0, 0, section, 0, 3, 0, 0, 0) // flags, sizes, sections
	b = append(b, make([]byte, section)...)                               // the null section
	dynamic := uint64(header + 3*section)
	b = put(put(put(put4(put4(b, 0), uint32(elf.SHT_DYNAMIC)), flags), 0), dynamic)
	b = put(put(put4(put4(put(b, size), 2), 0), 8), 16)
	b = put(put(put(put4(put4(b, 0), uint32(elf.SHT_STRTAB)), 0), 0), dynamic+0x40)
	b = put(put(put4(put4(put(b, uint64(len(strs))), 0), 0), 1), 0)
	for _, tag := range [][2]uint64{{uint64(elf.DT_NEEDED), 0}, {uint64(elf.DT_RUNPATH), 8}, {}, {}} {
		b = put(put(b, tag[0]), tag[1])
	}
	return append(b, strs...)
}

func TestDynamicSection(t *testing.T) {
	look := func(content []byte) kind {
		k, err := kindOf(bytes.NewReader(content), &Node{Path: "lib/x.so", Mode: 0o644, Size: int64(len(content))})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const strs = "liba.so\x00$ORIGIN/lib\x00"
	if k := look(smallELF(0, 0x40, strs)); !k.mapped || !slices.Equal(k.needed, []string{"liba.so"}) || !slices.Equal(k.runpath, []string{"$ORIGIN/lib"}) {
		t.Fatalf("%+v", k)
	}
	// Content that would only cost memory is not read: a compressed section, a string that
	// many entries name.
	long := strings.Repeat("x", maxString)
	for name, content := range map[string][]byte{
		"compressed":  smallELF(uint64(elf.SHF_COMPRESSED), 0x40, strs),
		"too long":    smallELF(0, 0x40, long+"x\x00"),
		"not ended":   smallELF(0, 0x40, "liba.so"),
		"not there":   smallELF(0, 0x40, ""),
		"cut off":     smallELF(0, 0x08, strs),
		"no sections": smallELF(0, 0x40, strs)[:200],
	} {
		if k := look(content); len(k.needed) > 0 {
			t.Errorf("%s: needs %.20q", name, k.needed)
		}
	}
	var entries []byte // in the place of the strings of a section that goes on
	for range 3000 {
		entries = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(entries, uint64(elf.DT_NEEDED)), 48016)
	}
	many := smallELF(0, 48016, string(entries)+long[1:]+"\x00")
	copy(many[64+3*64:], entries)
	if k := look(many); len(k.needed) == 0 || len(k.needed)*maxString > maxStrings+maxString {
		t.Errorf("%d strings of %d bytes", len(k.needed), maxString)
	}
}
