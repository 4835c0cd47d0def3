package evmctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// portableTree makes files whose metadata differs in everything that EVM protects, and
// returns the number of inodes.
func portableTree(t *testing.T, dir string) (inodes int) {
	t.Helper()
	modes := []os.FileMode{0o755, 0o644, 0o600, 0o444, 0, 0o777, 0o755 | os.ModeSetuid, 0o755 | os.ModeSetgid, 0o700 | os.ModeSetuid | os.ModeSetgid | os.ModeSticky}
	owners := [][2]int{{0, 0}, {1000, 1000}, {1, 65534}, {3_000_000_000, 4_000_000_000}}
	for _, mode := range modes {
		for _, owner := range owners {
			file := filepath.Join(dir, fmt.Sprintf("%o-%d", mode, owner[0]))
			write(t, file, file)
			check(t, os.Lchown(file, owner[0], owner[1]))
			check(t, os.Chmod(file, mode))
			inodes++
		}
	}
	for _, name := range ima.EVMXattrs() {
		if name == ima.XattrIMA {
			continue
		}
		for variant, value := range map[string][]byte{"set": []byte("label\x00"), "empty": {}} {
			if name == "security.capability" {
				if variant == "empty" {
					continue // the kernel refuses it
				}
				value = []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			}
			file := filepath.Join(dir, variant+" "+name)
			write(t, file, name)
			setxattr(t, file, name, value)
			inodes++
		}
	}
	labelled := filepath.Join(dir, "odd \"name\"\n\xff")
	write(t, labelled, "all labels")
	label(t, labelled)
	setxattr(t, labelled, "security.other", []byte("not protected"))
	check(t, syscall.Setxattr(labelled, "user.note", []byte("not protected"), 0))
	check(t, os.Link(labelled, filepath.Join(dir, "linked")))
	return inodes + 1
}

// TestPortableTree signs a tree with --evm portable. evmctl verifies every file. With RSA
// it makes the same values itself, for each word size.
func TestPortableTree(t *testing.T) {
	harness.Root(t)
	for _, c := range []struct{ algorithm, target, size string }{
		{"rsa2048", "64le", "--m64"}, {"rsa2048", "32le", "--m32"}, {"p256", "64le", "--m64"}, {"p384", "32le", "--m32"},
	} {
		t.Run(c.algorithm+" "+c.target, func(t *testing.T) {
			keys, tree := filepath.Join(t.TempDir(), "keys"), t.TempDir()
			harness.Must(t, harness.Program(t), "key", "init", "--algorithm", c.algorithm, "--with", "evm", keys)
			inodes := portableTree(t, tree)
			var report struct{ Signed int }
			check(t, json.Unmarshal([]byte(harness.Sign(t, keys, tree, "--evm", "portable", "--evm-target", c.target, "--json")), &report))
			if report.Signed != inodes || inodes < 40 {
				t.Errorf("signed %d of %d inodes", report.Signed, inodes)
			}
			certificates := []string{"rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--require-evm", "--evm-target", c.target, tree}
			harness.Must(t, harness.Program(t), certificates...)
			for _, file := range harness.Inodes(t, tree) {
				evmctl(t, "verify", "--smack", c.size, "--key", filepath.Join(keys, "x509_evm.der"), file)
				ours := getxattr(t, file, ima.XattrEVM)
				evmctl(t, "sign", "--smack", "--portable", c.size, "--key", filepath.Join(keys, "x509_evm.key"), "--keyid-from-cert", filepath.Join(keys, "x509_evm.crt"), file)
				if theirs := getxattr(t, file, ima.XattrEVM); strings.HasPrefix(c.algorithm, "rsa") && !bytes.Equal(ours, theirs) {
					t.Errorf("%q: ours %x, evmctl's %x", file, ours, theirs)
				}
			}
			harness.Must(t, harness.Program(t), certificates...) // values by evmctl
			if out := harness.Sign(t, keys, tree, "--evm", "portable", "--evm-target", c.target, "--json"); !strings.Contains(out, `"signed": 0,`) {
				t.Errorf("signing again what evmctl signed: %s", out)
			}
			before := harness.Xattrs(t, tree)
			check(t, os.Chmod(filepath.Join(tree, "755-0"), 0o700))
			evmctlRefuses(t, "verify", "--smack", c.size, "--key", filepath.Join(keys, "x509_evm.der"), filepath.Join(tree, "755-0"))
			if r := harness.Run(t, harness.Program(t), certificates...); r.Code != 3 || !strings.Contains(r.Out, "its mode is 0700, and was 0755 when it was signed") {
				t.Errorf("exit %d %s", r.Code, r.Out)
			}
			if out := harness.Sign(t, keys, tree, "--evm", "portable", "--evm-target", c.target, "--json"); !strings.Contains(out, `"signed": 1,`) {
				t.Errorf("a changed mode: %s", out)
			}
			harness.Must(t, harness.Program(t), certificates...)
			if harness.Xattrs(t, tree) == before {
				t.Error("nothing was signed again")
			}
			harness.Must(t, harness.Program(t), "rootfs", "strip", tree)
			if strings.Contains(harness.Xattrs(t, tree), ima.XattrEVM) {
				t.Error("security.evm is left")
			}
		})
	}
}

// TestDigestUnderEVM checks that --ima digest leaves one signature per file, which evmctl
// accepts.
func TestDigestUnderEVM(t *testing.T) {
	harness.Root(t)
	keys, tree := filepath.Join(t.TempDir(), "keys"), t.TempDir()
	harness.Must(t, harness.Program(t), "key", "init", "--with", "evm", keys)
	portableTree(t, tree)
	harness.Sign(t, keys, tree, "--evm", "portable", "--ima", "digest", "--evm-target", "64le")
	for _, file := range harness.Inodes(t, tree) {
		evmctl(t, "verify", "--smack", "--key", filepath.Join(keys, "x509_evm.der"), file)
		if v := parsexattr(t, file, ima.XattrIMA); v.Type != ima.TypeDigestNG {
			t.Errorf("%q: %v", file, v)
		}
	}
	harness.Must(t, harness.Program(t), "rootfs", "verify", "--cert", keys, "--evm-cert", keys, "--evm-target", "64le", tree)
	if r := harness.Run(t, harness.Program(t), "rootfs", "verify", "--cert", keys, tree); r.Code != 3 || !strings.Contains(r.Out, "hash only") {
		t.Errorf("without security.evm digests are not enough: exit %d %s", r.Code, r.Out)
	}
}
