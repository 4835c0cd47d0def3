package policy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Errors of [Generate].
var (
	ErrUnknownProfile = errors.New("no such profile")
	ErrNoSignatures   = errors.New("its rules demand no signatures")
)

// Profile is a policy for a common case.
type Profile struct {
	Name    string
	Summary string
	parts   []part
}

// part is a rule and the comment above it.
type part struct{ why, rule string }

// Profiles returns the profiles that [Generate] writes.
func Profiles() []Profile {
	return []Profile{
		{"default", "root's programs, modules, firmware and policies need signatures", defaultProfile()},
		{"strict", "every user's programs, and all files that the kernel reads, need signatures", strictProfile()},
		{"measure", "files that root runs or the kernel reads are measured, nothing is refused", measureProfile()},
		{"audit", "files that are run, or read by the kernel, go to the audit log, nothing is refused", auditProfile()},
	}
}

// Generate returns the policy of a profile, with a comment for each rule. Its rules demand
// signatures as signed says: [IMASig] or, for Linux 7.1 and later, [SigV3]. The error wraps
// [ErrUnknownProfile] for a name that is not one of [Profiles], and [ErrNoSignatures] if SigV3
// would change nothing.
func Generate(name string, signed AppraiseType) ([]byte, error) {
	for _, p := range Profiles() {
		if p.Name != name {
			continue
		}
		text := p.bytes(signed)
		if demand := []byte(" appraise_type=" + signed); signed == SigV3 && !bytes.Contains(text, demand) {
			return nil, fmt.Errorf("profile %s: %w", name, ErrNoSignatures)
		}
		return text, nil
	}
	return nil, fmt.Errorf("%q: %w", name, ErrUnknownProfile)
}

// versionThree is the comment of a policy whose rules demand version 3.
const versionThree = `# All signatures must be of version 3, for Linux 7.1 and later. Where EVM is enabled, a file
# with a digest and a version 2 signature in security.evm passes too, unless 8 is added to the
# value that is written to /sys/kernel/security/evm.
`

func (p Profile) bytes(signed AppraiseType) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# IMA policy, profile %s:\n# %s.\n", p.Name, p.Summary)
	if signed == SigV3 {
		b.WriteString(versionThree)
	}
	b.WriteString("# The kernel takes the first rule that matches, for each kind of action.\n")
	for _, part := range p.parts {
		if part.why != "" { // otherwise the comment of the rule before applies
			b.WriteString("\n# " + strings.ReplaceAll(part.why, "\n", "\n# ") + "\n")
		}
		b.WriteString(strings.Replace(part.rule, "appraise_type="+string(IMASig), "appraise_type="+string(signed), 1) + "\n")
	}
	return []byte(b.String())
}

// defaultProfile has the five rules of the meta-integrity layer. Only the rules for programs
// have the condition on root: modules, firmware and policies are loaded by any process with
// the capability, and by the kernel itself.
func defaultProfile() []part {
	return []part{
		{"Code that root maps: libraries, the dynamic loader, programs. Signatures only: a\ndigest in security.ima could be made by anyone who can write the file.\nOther users' processes are left out, so that they may run what they have built.",
			"appraise func=MMAP_CHECK mask=MAY_EXEC euid=0 appraise_type=imasig"},
		{"Programs and scripts that root runs.", "appraise func=BPRM_CHECK euid=0 appraise_type=imasig"},
		{"Kernel modules, whoever loads them. init_module gets EACCES from now on:\nonly finit_module shows the kernel a file. Compressed modules need\nCONFIG_MODULE_DECOMPRESS.",
			"appraise func=MODULE_CHECK appraise_type=imasig"},
		{"Firmware files. Devices do not get firmware that is refused.", "appraise func=FIRMWARE_CHECK appraise_type=imasig"},
		{"Further policies: signed, and loaded by path. Rules written as text get EACCES.", "appraise func=POLICY_CHECK appraise_type=imasig"},
	}
}

func strictProfile() []part {
	return []part{
		{"Code that anybody maps: libraries, the dynamic loader, programs.", "appraise func=MMAP_CHECK mask=MAY_EXEC appraise_type=imasig"},
		{"Programs and scripts that anybody runs.", "appraise func=BPRM_CHECK appraise_type=imasig"},
		{"Kernel modules. init_module gets EACCES from now on: only finit_module shows the\nkernel a file. Compressed modules need CONFIG_MODULE_DECOMPRESS.",
			"appraise func=MODULE_CHECK appraise_type=imasig"},
		{"Firmware files.", "appraise func=FIRMWARE_CHECK appraise_type=imasig"},
		{"The kernel and the initramfs of kexec. kexec_load gets EACCES from now on.", "appraise func=KEXEC_KERNEL_CHECK appraise_type=imasig"},
		{"", "appraise func=KEXEC_INITRAMFS_CHECK appraise_type=imasig"},
		{"Further policies: signed, and loaded by path. Rules written as text get EACCES.", "appraise func=POLICY_CHECK appraise_type=imasig"},
		{"Only SHA-256 may be written to security.ima. Add other algorithms if you sign with\nthem: each must be in the kernel when the policy is loaded.", "appraise func=SETXATTR_CHECK appraise_algos=sha256"},
	}
}

func measureProfile() []part {
	return []part{
		{"Root's own files that are mapped executable: libraries, the dynamic loader,\nprograms. Files of other users are left out: they could fill the kernel's memory\nwith measurements by running ever new programs.",
			"measure func=MMAP_CHECK mask=MAY_EXEC fowner=0"},
		{"Programs and scripts that belong to root.", "measure func=BPRM_CHECK fowner=0"},
		{"Kernel modules.", "measure func=MODULE_CHECK"},
		{"Firmware files.", "measure func=FIRMWARE_CHECK"},
		{"The kernel, the initramfs and the command line of kexec.", "measure func=KEXEC_KERNEL_CHECK"},
		{"", "measure func=KEXEC_INITRAMFS_CHECK"},
		{"", "measure func=KEXEC_CMDLINE"},
		{"Policies.", "measure func=POLICY_CHECK"},
		{"The same in the audit log, which a verifier can read after the next boot.", "audit func=BPRM_CHECK fowner=0"},
		{"", "audit func=MODULE_CHECK"},
	}
}

func auditProfile() []part {
	return []part{
		{"Programs and scripts: one line in the audit log for each content.", "audit func=BPRM_CHECK"},
		{"Libraries.", "audit func=MMAP_CHECK mask=MAY_EXEC"},
		{"Kernel modules.", "audit func=MODULE_CHECK"},
		{"Firmware files.", "audit func=FIRMWARE_CHECK"},
		{"Policies.", "audit func=POLICY_CHECK"},
	}
}
