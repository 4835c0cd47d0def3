package simulate

import (
	"bytes"
	"debug/elf"
	"io"
	"slices"
	"strings"
)

// elf reads the parts of an ELF file that the loaders read. If debug/elf cannot read the
// file, the loaders cannot load it either, or it is merely odd. Its signature is judged
// in both cases.
func (k *kind) elf(f io.ReaderAt) {
	k.mapped = k.executed
	file, err := elf.NewFile(f)
	if err != nil {
		return
	}
	if file.Type != elf.ET_EXEC && file.Type != elf.ET_DYN {
		k.mapped = false // modules and objects
		return
	}
	k.mapped = k.executed || file.Type == elf.ET_DYN
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz > 0 && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err == nil && k.executed {
				k.interp = string(bytes.TrimRight(name, "\x00"))
			}
		}
	}
	k.dynamic(file)
}

// How much of a dynamic section is read: far more than any program has. debug/elf's own
// DynString decompresses sections and copies a string for every entry that refers to it,
// so that a small file could use up all memory.
const (
	maxDynamic = 64 << 10 // bytes of the section
	maxStrings = 1 << 20  // bytes of all strings
	maxString  = 64 << 10 // bytes; a RUNPATH can be longer than a path
)

// dynamic reads which shared objects the file needs, and where the loader looks for them.
func (k *kind) dynamic(file *elf.File) {
	section := file.SectionByType(elf.SHT_DYNAMIC)
	if section == nil || int(section.Link) >= len(file.Sections) {
		return
	}
	names := file.Sections[section.Link]
	if (section.Flags|names.Flags)&elf.SHF_COMPRESSED != 0 { // no loader unpacks it
		return
	}
	entries := make([]byte, min(section.FileSize, maxDynamic))
	n, _ := section.ReadAt(entries, 0) // the end of the section is no error
	var runpath, rpath []string
	left := maxStrings
	for entries = entries[:n]; len(entries) > 0 && left > 0; {
		var tag elf.DynTag
		var value uint64
		if tag, value, entries = entryOf(file, entries); tag == elf.DT_NULL {
			break
		}
		if tag != elf.DT_NEEDED && tag != elf.DT_RUNPATH && tag != elf.DT_RPATH {
			continue
		}
		text := stringAt(names, value)
		left -= len(text)
		switch {
		case text == "":
		case tag == elf.DT_NEEDED:
			k.needed = append(k.needed, text)
		case tag == elf.DT_RUNPATH:
			runpath = append(runpath, strings.Split(text, ":")...)
		default:
			rpath = append(rpath, strings.Split(text, ":")...)
		}
	}
	k.runpath = slices.Concat(runpath, rpath)
}

// entryOf returns the first of a dynamic section's entries, and the rest of them.
func entryOf(file *elf.File, entries []byte) (tag elf.DynTag, value uint64, rest []byte) {
	switch order := file.ByteOrder; {
	case file.Class == elf.ELFCLASS32 && len(entries) >= 8:
		return elf.DynTag(order.Uint32(entries)), uint64(order.Uint32(entries[4:])), entries[8:]
	case file.Class == elf.ELFCLASS64 && len(entries) >= 16:
		return elf.DynTag(order.Uint64(entries)), order.Uint64(entries[8:]), entries[16:]
	}
	return elf.DT_NULL, 0, nil
}

// stringAt returns a string of a string table, "" if it is missing or too long.
func stringAt(table *elf.Section, offset uint64) string {
	if offset >= table.Size {
		return ""
	}
	short := make([]byte, 256)
	n, _ := table.ReadAt(short, int64(offset)) // the end of the table is no error
	text, _, whole := bytes.Cut(short[:n], []byte{0})
	if !whole && n == len(short) {
		long := make([]byte, maxString)
		n, _ = table.ReadAt(long, int64(offset))
		text, _, whole = bytes.Cut(long[:n], []byte{0})
	}
	if !whole {
		return ""
	}
	return string(text)
}
