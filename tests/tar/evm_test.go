package tar

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// withEVM are the flags that sign security.evm, too.
var withEVM = []string{"--evm", "portable", "--evm-target", "64le"}

// evmTree makes files with everything that EVM covers, and with ids that need more than an
// octal field.
func evmTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		mode os.FileMode
		uid  int
	}{"plain": {0o644, 0}, "setuid": {0o755 | os.ModeSetuid, 1000}, "setgid": {0o711 | os.ModeSetgid, 3_000_000_000}, "none": {0, 65534}} {
		file := filepath.Join(dir, name)
		write(t, file, name)
		check(t, os.Chown(file, c.uid, c.uid/2))
		check(t, os.Chmod(file, c.mode))
	}
	check(t, os.Link(filepath.Join(dir, "setuid"), filepath.Join(dir, "linked")))
	harness.Must(t, harness.Tool(t, "setfattr"), "-n", "security.selinux", "-v", "0x6c6162656c00", filepath.Join(dir, "plain"))
	harness.Must(t, harness.Tool(t, "setcap"), "cap_net_raw+ep", filepath.Join(dir, "none"))
	return dir
}

// evmAccepts checks that evmctl and this program accept every file below dir.
func evmAccepts(t *testing.T, keys, dir string, inodes int) {
	t.Helper()
	files := harness.Inodes(t, dir)
	if len(files) != inodes {
		t.Errorf("%d inodes, not %d", len(files), inodes)
	}
	for _, file := range files {
		r := harness.Run(t, harness.Tool(t, "evmctl"), "verify", "--smack", "--key", filepath.Join(keys, "x509_evm.der"), file)
		if r.Code != 0 {
			t.Errorf("evmctl refuses %s: %s%s", file, r.Out, r.Err)
		}
	}
	harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", dir)
}

// TestEVM signs archives by GNU tar and bsdtar with EVM, and extracts them with both. All
// files must verify. Stripping gives the original archive.
func TestEVM(t *testing.T) {
	harness.Root(t)
	keys, tree := filepath.Join(t.TempDir(), "keys"), evmTree(t)
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--with", "evm", keys)
	for name, maker := range map[string][]string{
		"GNU tar": {"tar", "--format=pax", "--xattrs", "--xattrs-include=*", "--selinux", "--numeric-owner"},
		"bsdtar":  {"bsdtar", "--format=pax", "--numeric-owner", "--xattrs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in, out, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar")
			harness.Must(t, maker[0], append(maker[1:], "-cf", in, "-C", tree, ".")...)
			for jobs, to := range map[string]string{"1": out, "8": plain} {
				harness.Must(t, harness.Program(t), append([]string{"tar", "sign", "--progress=none", "--key", keys, in, "-o", to, "--jobs", jobs}, withEVM...)...)
			}
			if read(t, out) != read(t, plain) {
				t.Error("--jobs changes the archive")
			}
			harness.Must(t, harness.Program(t), "tar", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", out)
			for _, extract := range [][]string{{"tar", "--numeric-owner", "--xattrs", "--xattrs-include=*"}, {"tar", "--numeric-owner", "--selinux", "--xattrs", "--xattrs-include=*"}, {"bsdtar", "--numeric-owner", "--xattrs"}} {
				to := t.TempDir()
				harness.Must(t, extract[0], append(extract[1:], "-xpf", out, "-C", to)...)
				evmAccepts(t, keys, to, 4)
			}
			harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", plain)
			if read(t, plain) != read(t, in) {
				t.Error("stripped, it is not what it was")
			}
		})
	}
	// GNU tar without --xattrs-include stores a label that GNU tar and bsdtar read differently.
	only := filepath.Join(t.TempDir(), "only.tar")
	harness.Must(t, "tar", "--selinux", "-cf", only, "-C", tree, "plain")
	r := harness.RunCommand(t, exec.Command(harness.Program(t), append([]string{"tar", "sign", "--progress=none", "--key", keys, only, "-o", only + ".out"}, withEVM...)...))
	if r.Code != 1 || !strings.Contains(r.Err, "plain: no EVM signature is valid: programs read its security.selinux differently") {
		t.Errorf("exit %d %s", r.Code, r.Err)
	}
	harness.Must(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", keys, only, "-o", only+".out")
}

// TestImageUnderEVM signs the layers of an image. umoci must unpack both values of each
// file, and keep whiteouts.
func TestImageUnderEVM(t *testing.T) {
	keys, in, out := filepath.Join(t.TempDir(), "keys"), umoci(t, ""), filepath.Join(t.TempDir(), "signed")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--with", "evm", keys)
	harness.Must(t, harness.Program(t), append([]string{"tar", "sign", "--oci", "--progress=none", "--key", keys, in, "-o", out}, withEVM...)...)
	harness.Must(t, harness.Program(t), "tar", "verify", "--oci", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", out)
	copied := filepath.Join(t.TempDir(), "copied")
	harness.Must(t, harness.Tool(t, "skopeo"), "--insecure-policy", "copy", "oci:"+out+":two", "oci:"+copied+":two")
	bundle := filepath.Join(t.TempDir(), "bundle")
	harness.Must(t, "umoci", "unpack", "--image", copied+":two", bundle)
	rootfs := filepath.Join(bundle, "rootfs")
	harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", "64le", rootfs)
	for i, file := range harness.Inodes(t, rootfs) {
		if base := filepath.Base(file); i%40 > 0 && base != "true" && base != "env" && base != "changed" {
			continue // a process for each file takes long
		}
		if r := harness.Run(t, "evmctl", "verify", "--smack", "--key", filepath.Join(keys, "x509_evm.der"), file); r.Code != 0 {
			t.Errorf("evmctl refuses %s: %s", file, fmt.Sprint(r.Out, r.Err))
		}
	}
	if _, err := os.Lstat(filepath.Join(rootfs, "etc/gone")); err == nil {
		t.Error("a deleted file is back")
	}
}
