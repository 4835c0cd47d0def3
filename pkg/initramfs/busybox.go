package initramfs

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
)

// applets are what the standalone hook runs before the policy is loaded. The shell is
// the one that must be there: /init begins with #!/bin/sh.
var applets = []string{"cmp", "findfs", "insmod", "mkdir", "modprobe", "mount", "sh", "sleep", "umount"}

// busybox puts the program and its links in.
func (b *builder) busybox() error {
	in := b.options.Busybox
	if in == nil {
		return nil
	}
	if err := static(in.Data); err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	for _, name := range applets {
		b.put(File{Path: "bin/" + name, Mode: fs.ModeSymlink | 0o777, Data: []byte("busybox")})
	}
	return b.add("bin/busybox", 0o755, in.Data, in.Name)
}

// static refuses a program that asks for a dynamic loader, which the initramfs does not
// have: the kernel would say that /init does not exist, and panic.
func static(data []byte) (err error) {
	defer func() {
		if recover() != nil { // debug/elf is not made for files that somebody has prepared
			err = fmt.Errorf("%w: its ELF headers are damaged", ErrBusybox)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%w: it is no ELF file (%w)", ErrBusybox, err)
	}
	defer f.Close() //nolint:errcheck // memory
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("%w: an ELF file of type %s is not executed", ErrBusybox, f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%w: it needs a dynamic loader and libraries, which the initramfs does not have; Debian's busybox-static is one that does not", ErrBusybox)
		}
	}
	return nil
}
