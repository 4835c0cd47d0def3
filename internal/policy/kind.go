package policy

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/tree"
)

// kind is what the kernel will do with a file.
type kind struct {
	executed   bool
	mapped     bool   // an ELF program or shared object
	interp     string // of a script or an ELF program, "" for none
	needed     []string
	runpath    []string
	module     bool
	compressed string // "gzip", "xz" or "zstd" of a module
	firmware   bool
	policy     bool
	kernel     bool
	modsig     bool // an appended signature
}

// moments are the questions that the kernel will ask about the file.
func (k *kind) moments(kernel Kernel) []moment {
	var list []moment
	if k.executed {
		list = append(list, moment{BprmCheck, accessExec}, moment{CredsCheck, accessExec}, moment{FileCheck, accessExec})
	}
	if k.mapped {
		list = append(list, moment{MmapCheck, accessExec})
		if !older(kernel.Version, certs.Kernel{Major: 6, Minor: 3}) {
			list = append(list, moment{MmapCheckReqProt, accessExec})
		}
	}
	for _, load := range []struct {
		is   bool
		hook Func
	}{{k.module, ModuleCheck}, {k.firmware, FirmwareCheck}, {k.policy, PolicyCheck}, {k.kernel, KexecKernelCheck}} {
		if load.is {
			list = append(list, moment{load.hook, accessRead})
		}
	}
	return append(list, moment{FileCheck, accessRead})
}

// modsigMagic is MODULE_SIG_STRING of the kernel's include/linux/module_signature.h.
const modsigMagic = "~Module signature appended~\n"

func kindOf(f *os.File, n *tree.Node) (kind, error) {
	var k kind
	k.byName(n.Path)
	k.executed = n.Mode.Perm()&0o111 != 0
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	got, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return k, err
	}
	head = head[:got]
	switch {
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		k.elf(f)
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := bytes.Cut(head[2:], []byte{'\n'})
		if words := strings.Fields(string(line)); len(words) > 0 && k.executed {
			k.interp = words[0]
		}
	}
	if (k.module || k.kernel) && n.Size > int64(len(modsigMagic)) {
		tail := make([]byte, len(modsigMagic))
		if _, err := f.ReadAt(tail, n.Size-int64(len(tail))); err != nil {
			return k, fmt.Errorf("read its end: %w", err)
		}
		k.modsig = string(tail) == modsigMagic
	}
	return k, nil
}

// byName knows files by where they are.
func (k *kind) byName(name string) {
	base := path.Base(name)
	plain := base
	for _, c := range []struct{ suffix, compression string }{{".gz", "gzip"}, {".xz", "xz"}, {".zst", "zstd"}} {
		if cut, ok := strings.CutSuffix(base, c.suffix); ok {
			plain, k.compressed = cut, c.compression
		}
	}
	below := func(dir string) bool { return strings.HasPrefix(name, dir) || strings.HasPrefix(name, "usr/"+dir) }
	k.module = strings.HasSuffix(plain, ".ko") && below("lib/modules/")
	k.firmware = below("lib/firmware/")
	if !k.module {
		k.compressed = ""
	}
	switch name {
	case "etc/ima/ima-policy", "etc/ima/ima-policy.signed", "etc/sysconfig/ima-policy", "etc/ima-policy", "etc/ima_policy":
		k.policy = true // systemd, dracut, meta-integrity
	}
	k.policy = k.policy || strings.HasPrefix(name, "etc/ima/ima_policy") // the hook of internal/initramfs
	for _, image := range []string{"vmlinuz", "bzImage", "Image", "zImage", "uImage"} {
		k.kernel = k.kernel || strings.HasPrefix(name, "boot/") && !strings.Contains(name[5:], "/") && strings.HasPrefix(base, image)
	}
}

// elf reads what the loaders do. A file that debug/elf cannot read is one that they
// cannot load, or no more than an oddity: its signature is judged all the same.
func (k *kind) elf(f *os.File) {
	defer func() {
		_ = recover() // debug/elf is not made for files that somebody has prepared
	}()
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
	k.needed, _ = file.ImportedLibraries() // none without a dynamic section
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, _ := file.DynString(tag)
		for _, p := range paths {
			k.runpath = append(k.runpath, strings.Split(p, ":")...)
		}
	}
}
