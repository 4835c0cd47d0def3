package bitbake

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// shells are those that an initramfs may have as /bin/sh.
var shells = map[string][]string{"dash": {"dash"}, "busybox": {"busybox", "sh"}, "bash": {"bash", "--posix"}}

// module runs a script after the initramfs module, in every shell, with the root
// file system at $ROOTFS_DIR and the initramfs's own files below $INITRAMFS.
func module(t *testing.T, prepare func(rootfs, initramfs string), script string, judge func(t *testing.T, rootfs string, r harness.Result)) {
	t.Helper()
	text := read(t, filepath.Join(root, "recipes/initramfs-module-imasign/files/imasign"))
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			rootfs, initramfs := t.TempDir(), t.TempDir()
			for _, dir := range []string{"dev", "proc", "sys/kernel/security/ima", "run", "sbin"} {
				if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			prepare(rootfs, initramfs)
			body := strings.ReplaceAll(text, "@SWITCH_ROOT@", "/sbin/switch_root.static")
			// The console is this test's; its absolute paths are below a directory.
			body = regexp.MustCompile(`imasign_console=\S+\n.*\n`).ReplaceAllString(body, "imasign_console=/dev/stderr\n")
			body = strings.ReplaceAll(body, "=/etc/", "="+initramfs+"/etc/")
			file := filepath.Join(t.TempDir(), "script")
			write(t, file, body+"\nROOTFS_DIR="+rootfs+"\n"+script)
			judge(t, rootfs, harness.Run(t, harness.Tool(t, shell[0]), append(shell[1:], file)...))
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

const policyFile = "sys/kernel/security/ima/policy"

func TestModuleWritesTheRules(t *testing.T) {
	policy := read(t, filepath.Join(root, "recipes/imasign-policy/files/ima-policy"))
	module(t,
		func(_, initramfs string) { write(t, filepath.Join(initramfs, "etc/ima/ima-policy"), policy) },
		"imasign_load_policy",
		func(t *testing.T, rootfs string, r harness.Result) {
			if r.Code != 0 {
				t.Fatal(r.Err)
			}
			want := regexp.MustCompile(`(?m)^(#.*)?\n`).ReplaceAllString(policy, "")
			if got := read(t, filepath.Join(rootfs, policyFile)); got != want {
				t.Errorf("written:\n%s\nwant:\n%s", got, want)
			}
		})
}

// TestModuleSaysWhatFailed: /dev/full refuses a write as the kernel refuses a rule.
func TestModuleSaysWhatFailed(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(rootfs, initramfs string)
		script  string
		says    string
	}{
		"rule": {
			func(rootfs, initramfs string) {
				write(t, filepath.Join(initramfs, "etc/ima/ima-policy"), "# comment\n\nappraise func=WRONG\n")
				if err := os.Symlink("/dev/full", filepath.Join(rootfs, policyFile)); err != nil {
					t.Fatal(err)
				}
			},
			"imasign_load_policy", "the kernel refused line 3 of .*ima-policy: appraise func=WRONG",
		},
		"no switch_root": {
			func(_, initramfs string) { write(t, filepath.Join(initramfs, "etc/ima/ima-policy"), "x\n") },
			"imasign_check_rootfs", "no /sbin/switch_root.static: add packagegroup-imasign",
		},
		"no policy": {
			func(rootfs, _ string) { write(t, filepath.Join(rootfs, "sbin/switch_root.static"), "") },
			"imasign_check_rootfs", "no policy .*: add imasign-policy",
		},
		"no rootfs": {
			func(rootfs, _ string) {
				if err := os.Remove(filepath.Join(rootfs, "dev")); err != nil {
					t.Fatal(err)
				}
			},
			"imasign_check_rootfs", "has no /dev: was it mounted",
		},
		"no certificate": {
			func(string, string) {}, "imasign_load_certificates", "no .*/etc/keys/x509_ima.der: add imasign-key-store-ima-cert",
		},
		"keyctl": {
			func(_, initramfs string) { write(t, filepath.Join(initramfs, "etc/keys/x509_ima_rpm.der"), "x") },
			"imasign_keyring_filled() { true; }; command() { false; }; imasign_load_certificates", "x509_ima_rpm.der cannot be loaded without keyctl",
		},
		"refused switch_root": {
			// Not executable by anybody: exec fails as it does when the kernel refuses.
			func(rootfs, _ string) { write(t, filepath.Join(rootfs, "sbin/switch_root.static"), "#!/nonexistent\n") },
			"imasign_check_rootfs() { :; }; imasign_mount_securityfs() { :; }; imasign_load_certificates() { :; }; imasign_move_mounts() { :; }; imasign_load_policy() { :; }; imasign_run",
			"the kernel refused /sbin/switch_root.static of the root file system: is it signed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			module(t, c.prepare, c.script, func(t *testing.T, _ string, r harness.Result) {
				if r.Code != 1 || !regexp.MustCompile("(?m)^imasign: .*"+c.says).MatchString(r.Err) {
					t.Errorf("exit %d, want 1 and %q:\n%s", r.Code, c.says, r.Err)
				}
			})
		})
	}
}
