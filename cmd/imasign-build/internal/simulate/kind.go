package simulate

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
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

// accesses are the questions that the kernel will ask about the file; whose it is, is left
// out.
func (k *kind) accesses(version kernel.Version) []policy.Access {
	var list []policy.Access
	ask := func(hook policy.Func, mask policy.Mask) { list = append(list, policy.Access{Func: hook, Mask: mask}) }
	if k.executed {
		ask(policy.BprmCheck, policy.MayExec)
		ask(policy.CredsCheck, policy.MayExec)
		ask(policy.FileCheck, policy.MayExec)
	}
	if k.mapped {
		ask(policy.MmapCheck, policy.MayExec)
		if !version.Before(6, 3) {
			ask(policy.MmapCheckReqProt, policy.MayExec)
		}
	}
	for _, load := range []struct {
		is   bool
		hook policy.Func
	}{{k.module, policy.ModuleCheck}, {k.firmware, policy.FirmwareCheck}, {k.policy, policy.PolicyCheck}, {k.kernel, policy.KexecKernelCheck}} {
		if load.is {
			ask(load.hook, policy.MayRead)
		}
	}
	ask(policy.FileCheck, policy.MayRead)
	return list
}

// modsigMagic is MODULE_SIG_STRING of the kernel's include/linux/module_signature.h.
const modsigMagic = "~Module signature appended~\n"

// kindOf tells what a file is by its name, its mode and parts of its content.
func kindOf(f io.ReaderAt, n *Node) (kind, error) {
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

// byName recognizes what has its place in a file system.
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
	k.policy = k.policy || strings.HasPrefix(name, "etc/ima/ima_policy") // the hook of package initramfs
	for _, image := range []string{"vmlinuz", "bzImage", "Image", "zImage", "uImage"} {
		k.kernel = k.kernel || strings.HasPrefix(name, "boot/") && !strings.Contains(name[5:], "/") && strings.HasPrefix(base, image)
	}
}
