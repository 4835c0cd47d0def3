package initramfs

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/keyscan"
)

// applets returns the programs that the standalone hook runs before the policy is loaded. It
// always runs the needed ones. The others depend on the command line, /etc/modules and the
// root file system.
func applets() (needed, optional []string) {
	return []string{"mkdir", "mount", "sh"}, []string{"cmp", "findfs", "insmod", "modprobe", "sleep", "umount"}
}

// busybox adds the program and its links. /init begins with #!/bin/sh, so the kernel panics
// if there is no shell.
func (b *builder) busybox() error {
	o := &b.options
	if o.Hook != Standalone || o.ShellElsewhere {
		return nil
	}
	in := o.Busybox
	if in == nil {
		return ErrNoShell
	}
	if keyscan.Holds(in.Data) { // the most serious mistake is reported first
		return fmt.Errorf("%s: %w", in.Name, ErrPrivateKey)
	}
	if err := b.runs(in); err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	links, err := b.links(in)
	if err != nil {
		return fmt.Errorf("%s: %w", in.Name, err)
	}
	for _, name := range links {
		b.put(File{Path: "bin/" + name, Mode: fs.ModeSymlink | 0o777, Data: []byte("busybox")})
	}
	return b.add("bin/busybox", 0o755, in.Data, in.Name)
}

// links returns the applets that the program has. A missing applet is an error if it is
// needed, and otherwise a warning.
func (b *builder) links(in *Input) ([]string, error) {
	needed, optional := applets()
	all := slices.Sorted(slices.Values(slices.Concat(needed, optional)))
	if bytes.Contains(in.Data, []byte("UPX!")) {
		b.note(in.Name, finding.New("applets", finding.Warn, "it is compressed (UPX), so its applets cannot be checked"))
		return all, nil
	}
	var has func([]byte, string) bool
	switch {
	case bytes.Contains(in.Data, []byte("BusyBox v")):
		has = listed
	case bytes.Contains(in.Data, []byte("toybox")):
		has = func(data []byte, name string) bool { return bytes.Contains(data, []byte(name+"\x00")) }
	default:
		return nil, fmt.Errorf("%w: it is neither busybox nor toybox", ErrApplets)
	}
	missing := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return has(in.Data, name) })
	}
	if lack := missing(needed); len(lack) > 0 {
		return nil, fmt.Errorf("%w: it has no applet %s", ErrApplets, strings.Join(lack, ", "))
	}
	lack := missing(optional)
	if len(lack) > 0 {
		b.note(in.Name, finding.New("applets", finding.Warn, "it has no applet %s: /init fails if it needs one", strings.Join(lack, ", ")))
	}
	return slices.DeleteFunc(all, func(name string) bool { return slices.Contains(lack, name) }), nil
}

// listed reports whether busybox's applet_names has a name. The names are sorted by strcmp,
// and each ends with a NUL.
func listed(data []byte, name string) bool {
	entry := append(append([]byte{0}, name...), 0)
	for from := 0; ; {
		i := bytes.Index(data[from:], entry)
		if i < 0 {
			return false
		}
		at := from + i + 1
		before := appletBefore(data, at-1)
		after := appletAfter(data, at+len(name)+1)
		if before != "" && before < name || after != "" && after > name {
			return true
		}
		from = at
	}
}

const longestApplet = 32

// appletBefore returns the name that ends before a NUL, or "" if that is not a name.
func appletBefore(data []byte, end int) string {
	start := end
	for start > 0 && end-start <= longestApplet && data[start-1] != 0 {
		start--
	}
	return applet(data[start:end])
}

func appletAfter(data []byte, start int) string {
	end := start
	for end < len(data) && end-start <= longestApplet && data[end] != 0 {
		end++
	}
	return applet(data[start:end])
}

func applet(name []byte) string {
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("[_-.+", c) >= 0:
		default:
			return ""
		}
	}
	if len(name) > longestApplet {
		return ""
	}
	return string(name)
}

// runs refuses a file that the kernel cannot execute. It would report that /init does not
// exist, and panic.
func (b *builder) runs(in *Input) (err error) {
	defer func() {
		if recover() != nil { // debug/elf is not hardened against hostile files
			err = fmt.Errorf("%w: its ELF headers are damaged", ErrBusybox)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(in.Data))
	if err != nil {
		return fmt.Errorf("%w: it is not an ELF file; Debian's package busybox-static has a suitable one", ErrBusybox)
	}
	defer f.Close() //nolint:errcheck // memory
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("%w: the kernel does not execute ELF files of type %s", ErrBusybox, f.Type)
	}
	if err := static(f, uint64(len(in.Data))); err != nil {
		return err
	}
	return b.machine(f)
}

func static(f *elf.File, size uint64) error {
	const dynamic = "%w: it needs %s, which the initramfs does not have; Debian's package busybox-static has one that does not"
	starts := false
	for _, p := range f.Progs {
		switch {
		case p.Type == elf.PT_INTERP:
			return fmt.Errorf(dynamic, ErrBusybox, "a dynamic loader and libraries")
		case p.Type != elf.PT_LOAD:
		case p.Off > size || p.Filesz > size-p.Off:
			return fmt.Errorf("%w: it is truncated: it has %d bytes, and a segment ends at %d", ErrBusybox, size, p.Off+p.Filesz)
		case p.Flags&elf.PF_X != 0 && f.Entry >= p.Vaddr && f.Entry-p.Vaddr < p.Memsz:
			starts = true
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		return fmt.Errorf(dynamic, ErrBusybox, strings.Join(libraries, ", "))
	}
	if !starts || f.Type == elf.ET_DYN && f.Entry == 0 {
		return fmt.Errorf("%w: it has no executable entry point (is it a library?)", ErrBusybox)
	}
	return nil
}
