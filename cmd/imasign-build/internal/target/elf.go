package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
)

// found collects the targets of files of one kind.
type found struct {
	first, other file // of two targets, if there are two
}

// file is an ELF file with its target.
type file struct {
	path   string // "" for none
	target ima.EVMTarget
	m68k   bool // EVM signatures for these kernels cannot be made
}

// add adds a file by its first bytes. A file that is not an ELF file of a known class does
// not count.
func (f *found) add(path string, header []byte) {
	now, ok := parse(header)
	if !ok {
		return
	}
	now.path = path
	switch {
	case f.first.path == "":
		f.first = now
	case f.other.path == "" && f.first.target != now.target:
		f.other = now
	}
}

func (f *found) result(module bool) (Found, error) {
	switch {
	case f.first.path == "":
		return Found{}, ErrUnknown
	case f.other.path != "":
		return Found{}, fmt.Errorf("%w: %s is for %s kernels, %s for %s ones", ErrConflict, f.first.path, f.first.target, f.other.path, f.other.target)
	case f.first.m68k:
		return Found{}, fmt.Errorf("%w: %s is for m68k, whose EVM signatures are not supported", ErrUnknown, f.first.path)
	}
	return Found{EVMTarget: f.first.target, Path: f.first.path, Module: module}, nil
}

// Offsets in the ELF header (elf(5)), and flags of MIPS.
const (
	typeAt      = 16
	machineAt   = 18
	flags32At   = 36
	mipsABI2    = 0x20 // EF_MIPS_ABI2: the n32 ABI of 64-bit kernels
	shortHeader = 40
)

// parse returns the target of an ELF file. The x32 ABI of x86-64 and the n32 ABI of MIPS
// have 32-bit files for 64-bit kernels.
func parse(header []byte) (f file, ok bool) {
	if len(header) < shortHeader || string(header[:4]) != elf.ELFMAG {
		return f, false
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch elf.Data(header[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
	case elf.ELFDATA2MSB:
		order, f.target.BigEndian = binary.BigEndian, true
	default:
		return f, false
	}
	switch elf.Type(order.Uint16(header[typeAt:])) {
	case elf.ET_EXEC, elf.ET_DYN, elf.ET_REL:
	default:
		return f, false
	}
	machine := elf.Machine(order.Uint16(header[machineAt:]))
	f.m68k = machine == elf.EM_68K
	switch elf.Class(header[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
	case elf.ELFCLASS32:
		n32 := machine == elf.EM_MIPS && order.Uint32(header[flags32At:])&mipsABI2 != 0
		f.target.Bits32 = machine != elf.EM_X86_64 && !n32
	default:
		return f, false
	}
	return f, true
}
