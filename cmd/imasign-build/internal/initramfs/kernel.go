package initramfs

import (
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/compress"
)

// symbols are configuration symbols that a hook needs, with the consequence if one is not set.
type symbols []struct{ name, why string }

// configured refuses a kernel with which the hook would stop, if its configuration is known.
func (b *builder) configured() error {
	o := &b.options
	if o.Kernel.Config == nil {
		return nil
	}
	needs := symbols{
		{"CONFIG_BLK_DEV_INITRD", "there is no initramfs"}, {"CONFIG_SECURITYFS", "policies are written to securityfs"},
		{"CONFIG_PROC_FS", "the hook reads /proc"}, {"CONFIG_SYSFS", "securityfs is mounted below /sys"}, {"CONFIG_KEYS", "certificates go into keyrings"},
	}
	if o.Hook == Standalone {
		needs = append(needs, symbols{
			{"CONFIG_BINFMT_SCRIPT", "/init is a script"}, {"CONFIG_BINFMT_ELF", "busybox is a program"},
			{"CONFIG_DEVTMPFS", "/init mounts /dev"}, {"CONFIG_TMPFS", "/init mounts /run"},
		}...)
	}
	if len(o.Revoked) > 0 {
		needs = append(needs, symbols{{"CONFIG_IMA_BLACKLIST_KEYRING", "there is no keyring for revoked certificates"}}...)
	}
	if len(o.Secondary) > 0 {
		needs = append(needs, symbols{{"CONFIG_SECONDARY_TRUSTED_KEYRING", "there is no keyring for secondary CAs"}}...)
	}
	if len(o.EVM) > 0 {
		needs = append(needs, symbols{
			{"CONFIG_EVM", "there is no EVM"},
		}...)
	}
	var reasons []string
	for _, s := range needs {
		if o.Kernel.Config.Value(s.name) != "y" {
			reasons = append(reasons, fmt.Sprintf("configuration: %s is not set: %s", s.name, s.why))
		}
	}
	if len(reasons) > 0 {
		return refused("the kernel's configuration", reasons)
	}
	return nil
}

// CheckCompression returns ErrRefused if the kernel's configuration is known, and the kernel
// cannot unpack an archive with this compression.
func (o *Options) CheckCompression(c compress.Format) error {
	symbol := "CONFIG_RD_" + strings.ToUpper(string(c))
	if o.Kernel.Config == nil || c == compress.None || o.Kernel.Config.Value(symbol) == "y" {
		return nil
	}
	return refused("the archive", []string{fmt.Sprintf("configuration: %s is not set: choose another compression by the suffix of its name", symbol)})
}

// processor lists the machines whose programs a kernel executes: programs if symbol is set,
// and others if also is set.
type processor struct {
	symbol   string
	programs []elf.Machine
	also     string
	others   []elf.Machine
}

func processors() []processor {
	return []processor{
		{"CONFIG_X86_64", []elf.Machine{elf.EM_X86_64}, "CONFIG_IA32_EMULATION", []elf.Machine{elf.EM_386}},
		{"CONFIG_X86_32", []elf.Machine{elf.EM_386}, "", nil},
		{"CONFIG_ARM64", []elf.Machine{elf.EM_AARCH64}, "CONFIG_COMPAT", []elf.Machine{elf.EM_ARM}},
		{"CONFIG_ARM", []elf.Machine{elf.EM_ARM}, "", nil},
		{"CONFIG_RISCV", []elf.Machine{elf.EM_RISCV}, "", nil},
		{"CONFIG_PPC", []elf.Machine{elf.EM_PPC, elf.EM_PPC64}, "", nil},
		{"CONFIG_MIPS", []elf.Machine{elf.EM_MIPS}, "", nil},
		{"CONFIG_S390", []elf.Machine{elf.EM_S390}, "", nil},
		{"CONFIG_LOONGARCH", []elf.Machine{elf.EM_LOONGARCH}, "", nil},
	}
}

// machine refuses a program that the kernel cannot execute, if the kernel's architecture is
// known.
func (b *builder) machine(f *elf.File) error {
	config := b.options.Kernel.Config
	if config == nil {
		return nil
	}
	for _, m := range processors() {
		if config.Value(m.symbol) != "y" {
			continue
		}
		programs := m.programs
		if config.Value(m.also) == "y" {
			programs = slices.Concat(programs, m.others)
		}
		if !slices.Contains(programs, f.Machine) {
			return fmt.Errorf("%w: it is for another processor (%s) than the kernel (%s)", ErrBusybox, f.Machine, m.symbol)
		}
		return nil
	}
	return nil
}
