package target_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/target"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

type source []signing.Entry

func (s source) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for _, e := range s {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func file(path string, mode fs.FileMode, content []byte) signing.Entry {
	return signing.Entry{Path: path, Mode: mode, Open: func(context.Context) (*signing.File, error) {
		return &signing.File{ReadCloser: io.NopCloser(bytes.NewReader(content))}, nil
	}}
}

// header returns the header of an ELF file.
func header(class elf.Class, data elf.Data, kind elf.Type, machine elf.Machine, flags uint32) []byte {
	b := make([]byte, 64)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA] = byte(class), byte(data)
	var order binary.ByteOrder = binary.LittleEndian
	if data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	order.PutUint16(b[16:], uint16(kind))
	order.PutUint16(b[18:], uint16(machine))
	order.PutUint32(b[36:], flags)
	return b
}

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDetect(t *testing.T) {
	x86 := header(elf.ELFCLASS64, elf.ELFDATA2LSB, elf.ET_DYN, elf.EM_X86_64, 0)
	arm := header(elf.ELFCLASS32, elf.ELFDATA2LSB, elf.ET_EXEC, elf.EM_ARM, 0)
	s390 := header(elf.ELFCLASS64, elf.ELFDATA2MSB, elf.ET_DYN, elf.EM_S390, 0)
	mips := header(elf.ELFCLASS32, elf.ELFDATA2MSB, elf.ET_EXEC, elf.EM_MIPS, 0)
	n32 := header(elf.ELFCLASS32, elf.ELFDATA2MSB, elf.ET_EXEC, elf.EM_MIPS, 0x20)
	x32 := header(elf.ELFCLASS32, elf.ELFDATA2LSB, elf.ET_EXEC, elf.EM_X86_64, 0)
	m68k := header(elf.ELFCLASS32, elf.ELFDATA2MSB, elf.ET_EXEC, elf.EM_68K, 0)
	module := header(elf.ELFCLASS64, elf.ELFDATA2LSB, elf.ET_REL, elf.EM_AARCH64, 0)
	script := []byte("#!/bin/sh\n")
	for name, tc := range map[string]struct {
		files source
		want  ima.EVMTarget
		path  string
		err   error
		text  string
	}{
		"64-bit":           {source{file("a", 0o755, script), file("b", 0o755, x86)}, ima.EVMTarget{}, "b", nil, ""},
		"32-bit":           {source{file("b", 0o755, arm)}, ima.EVMTarget{Bits32: true}, "b", nil, ""},
		"big-endian":       {source{file("b", 0o755, s390)}, ima.EVMTarget{BigEndian: true}, "b", nil, ""},
		"MIPS":             {source{file("b", 0o755, mips)}, ima.EVMTarget{Bits32: true, BigEndian: true}, "b", nil, ""},
		"MIPS n32":         {source{file("b", 0o755, n32)}, ima.EVMTarget{BigEndian: true}, "b", nil, ""},
		"x32":              {source{file("b", 0o755, x32)}, ima.EVMTarget{}, "b", nil, ""},
		"library":          {source{file("lib/libc.so.6", 0o644, arm)}, ima.EVMTarget{Bits32: true}, "lib/libc.so.6", nil, ""},
		"module decides":   {source{file("b", 0o755, arm), file("x.ko.gz", 0o644, zipped(t, module))}, ima.EVMTarget{}, "x.ko.gz", nil, ""},
		"not executable":   {source{file("firmware.elf", 0o644, arm), file("b", 0o755, x86)}, ima.EVMTarget{}, "b", nil, ""},
		"conflict":         {source{file("a", 0o755, arm), file("b", 0o755, x86)}, ima.EVMTarget{}, "", target.ErrConflict, "a is for 32-bit little-endian kernels, b for 64-bit little-endian ones"},
		"modules conflict": {source{file("a.ko", 0o644, s390), file("b.ko", 0o644, module)}, ima.EVMTarget{}, "", target.ErrConflict, ""},
		"m68k":             {source{file("a", 0o755, m68k)}, ima.EVMTarget{}, "", target.ErrUnknown, "m68k"},
		"none":             {source{file("a", 0o755, script), file("short", 0o755, arm[:30]), file("empty.ko", 0o644, nil)}, ima.EVMTarget{}, "", target.ErrUnknown, ""},
	} {
		got, err := target.Detect(context.Background(), tc.files)
		if !errors.Is(err, tc.err) || got.EVMTarget != tc.want || got.Path != tc.path {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnselectedContent checks that a file that a selection leaves out for its content does
// not stop the search.
func TestUnselectedContent(t *testing.T) {
	script := file("lib/libc.so", 0o644, []byte("GROUP ( libc.so.6 )"))
	program := file("program", 0o755, header(elf.ELFCLASS32, elf.ELFDATA2LSB, elf.ET_EXEC, elf.EM_ARM, 0))
	rules, err := selection.Compile(selection.Options{Files: selection.Executable})
	if err != nil {
		t.Fatal(err)
	}
	src := selection.New(source{script, program}, rules)
	if got, err := target.Detect(context.Background(), src); err != nil || got.Path != "program" || !got.Bits32 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRealPrograms reads a program that the Go tool made.
func TestRealPrograms(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	got, err := target.Detect(context.Background(), source{file("program", 0o755, content)})
	if f, open := elf.Open(program); err != nil || open != nil || got.Bits32 != (f.Class == elf.ELFCLASS32) || got.BigEndian != (f.Data == elf.ELFDATA2MSB) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("a", header(elf.ELFCLASS32, elf.ELFDATA2MSB, elf.ET_EXEC, elf.EM_MIPS, 0x20))
	f.Add("a.ko.gz", []byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(_ *testing.T, path string, content []byte) {
		_, _ = target.Detect(context.Background(), source{file(path, 0o755, content)})
	})
}
