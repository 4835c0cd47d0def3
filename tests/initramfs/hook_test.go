package initramfs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// rules returns a policy without comments and empty lines, which the hook does not write.
func rules(text string) string { return regexp.MustCompile(`(?m)^(#.*)?\n`).ReplaceAllString(text, "") }

func defaultPolicy(t *testing.T) string {
	return harness.Must(t, harness.Program(t), "policy", "generate")
}

const customPolicy = "appraise func=BPRM_CHECK appraise_type=imasig\n\n# more\nappraise func=POLICY_CHECK appraise_type=imasig\n"

// TestStandalone checks that the hook runs no program after it moved the last mount. From
// then on no program of the initramfs can be executed.
func TestStandalone(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		b := newDevice(t, shell, "standalone").boot("single", "two words")
		b.switched(t, "SWITCHED in /sysroot: /sysroot /sbin/init single two words")
		if b.policy != rules(defaultPolicy(t)) {
			t.Errorf("written:\n%s", b.policy)
		}
		want := `mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs /run
mount -o ro /dev/vda /sysroot
mount -t securityfs securityfs /sys/kernel/security
mount --move /dev /sysroot/dev
mount --move /proc /sysroot/proc
mount --move /sys /sysroot/sys
mount --move /run /sysroot/run
`
		if b.log != want || b.Err != "" {
			t.Errorf("log:\n%s%s", b.log, b.Err)
		}
	})
}

// TestCommandLine tests the options that a kernel without an initramfs understands.
func TestCommandLine(t *testing.T) {
	d := newDevice(t, "dash", "standalone")
	d.write("fake/rootfs/bin/other", "init")
	d.write("fake/proc/cmdline", "root=/dev/other root=/dev/vda ro rw rootfstype=squashfs,ext4 rootflags=noatime,data=journal rootdelay=0 rootwait init=/bin/other -- root=/dev/late")
	b := d.boot("x")
	b.switched(t, "/sysroot /bin/other x")
	if !strings.Contains(b.log, "\nmount -t squashfs -o rw,noatime,data=journal /dev/vda /sysroot\n") {
		t.Error(b.log)
	}
	for line, says := range map[string]string{
		"quiet\n":                  "root= is not on the kernel's command line",
		"root=0801\n":              "root=0801: /dev/NAME, UUID=",
		"root=/dev/vda init=/no\n": "has no /no: is init= right",
	} {
		d := newDevice(t, "dash", "standalone")
		d.write("fake/proc/cmdline", line)
		d.boot().stopped(t, says, "the policy was not loaded")
	}
}

// TestPolicies checks that a custom policy replaces the default one, and that the signed
// policies of the root file system follow, by their paths.
func TestPolicies(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		custom := filepath.Join(t.TempDir(), "custom")
		if err := os.WriteFile(custom, []byte(customPolicy), 0o644); err != nil {
			t.Fatal(err)
		}
		d := newDevice(t, shell, "standalone", "--policy", custom)
		d.write("fake/rootfs/etc/ima/ima_policy", "not read by the hook")
		d.write("fake/rootfs/etc/ima/ima_policy.site", "not read by the hook")
		d.write("fake/rootfs/etc/ima/ima-policy", "systemd's")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if want := rules(customPolicy) + "/sysroot/etc/ima/ima_policy\n/sysroot/etc/ima/ima_policy.site\n"; b.policy != want {
			t.Errorf("written:\n%s", b.policy)
		}
		if !strings.Contains(b.Err, "imasign: loaded the signed policy /sysroot/etc/ima/ima_policy.site\n") {
			t.Error(b.Err)
		}
	})
}

// TestPolicyThatAsksForNoSignatures checks that the hook then loads no policy of the root
// file system, because the kernel would not check its signature. Backslashes in rules are
// kept, and the last line may lack its newline.
func TestPolicyThatAsksForNoSignatures(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		d.write("etc/ima/ima_policy", `measure obj_user=a\nb\0c`)
		d.write("fake/rootfs/etc/ima/ima_policy.site", "not read by the hook")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if want := `measure obj_user=a\nb\0c` + "\n"; b.policy != want {
			t.Errorf("written:\n%s", b.policy)
		}
		if !strings.Contains(b.Err, "ima_policy.site is not loaded: /etc/ima/ima_policy has no rule appraise func=POLICY_CHECK") {
			t.Error(b.Err)
		}
	})
}

// TestCertificates checks the order: revoked certificates first, then secondary ones. For
// each keyring, those of the initramfs come first, then those of the root file system that
// differ.
func TestCertificates(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		for _, name := range []string{"x509_ima_rpm", "x509_secondary", "x509_revoked", "x509_revoked_2"} {
			d.write("etc/keys/"+name+".der", name+"\n")
		}
		d.copy(d.path("etc/keys/x509_ima.der"), "fake/rootfs/etc/keys/x509_ima.der")
		for _, name := range []string{"x509_ima_later", "x509_secondary_later", "x509_revoked_later", "x509_evm"} {
			d.write("fake/rootfs/etc/keys/"+name+".der", name+"\n")
		}
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		var loads []string
		for line := range strings.Lines(b.log) {
			if strings.HasPrefix(line, "load") {
				loads = append(loads, strings.TrimSpace(line))
			}
		}
		want := `load %:.ima_blacklist x509_revoked
load %:.ima_blacklist x509_revoked_2
load %:.ima_blacklist x509_revoked_later
load %:.secondary_trusted_keys x509_secondary
load %:.secondary_trusted_keys x509_secondary_later
load %:.ima x509_ima_rpm
load %:.ima x509_ima_later`
		if got := strings.Join(loads, "\n"); got != want {
			t.Errorf("loaded:\n%s", got)
		}
		if strings.Index(b.log, "load %:.ima ") > strings.Index(b.log, "--move") {
			t.Error("certificates were loaded after the first move")
		}
	})
}

// TestWithoutTrustedKeyring tests a distribution's kernel, which loads no certificate.
func TestWithoutTrustedKeyring(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		d.write("etc/keys/x509_ima.der", "first\n")
		d.write("fake/proc/keys", strings.ReplaceAll(keyrings, " .ima: 1", " .other: 1"))
		// An attacker who can write to the root file system could add a key.
		d.write("fake/rootfs/etc/keys/x509_ima_other.der", "other\n")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if strings.Contains(b.log, "load %:_ima other") || !strings.Contains(b.Err, "x509_ima_other.der is not loaded") {
			t.Errorf("%s%s", b.log, b.Err)
		}
		if !strings.Contains(b.log, "newring _ima @u\nload %:_ima first\n") || !strings.Contains(b.Err, "no .ima keyring") {
			t.Errorf("%s%s", b.log, b.Err)
		}
	})
}

// TestNothingUnsignedRuns checks that no file of the root file system is executed before
// the policy is loaded.
func TestNothingUnsignedRuns(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		for _, name := range []string{"sbin/switch_root.static", "sbin/init", "bin/sh", "bin/mount", "usr/bin/keyctl"} {
			d.write("fake/rootfs/"+name, "#!/fake/busybox sh\necho ran "+name+" >>/fake/log\n")
		}
		d.node("fake/securityfs/ima/policy", syscall.S_IFCHR, 1<<8|7) // refuses
		b := d.boot()
		b.stopped(t, "the kernel refused line", "the policy was not loaded")
		if strings.Contains(b.log, "ran ") {
			t.Error(b.log)
		}
	})
}

func TestOff(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		for _, c := range []struct {
			flag, cmdline, says string
			off                 bool
		}{
			{"--allow-off", "root=/dev/vda ima_appraise=off", "NO POLICY IS LOADED", true},
			{"--allow-off", "root=/dev/vda ima_appraise=off ima_appraise=enforce", "", false},
			{"--allow-off", "root=/dev/vda -- ima_appraise=off", "", false},
			{"--allow-off=false", "root=/dev/vda ima_appraise=off", "is ignored and the policy loaded", false},
		} {
			d := newDevice(t, shell, "standalone", c.flag)
			d.write("fake/proc/cmdline", c.cmdline+"\n")
			b := d.boot()
			b.switched(t, "/sysroot /sbin/init")
			if off := b.policy == ""; off != c.off || !strings.Contains(b.Err, c.says) || c.says == "" && b.Err != "" {
				t.Errorf("%s %s: %s%s", c.flag, c.cmdline, b.policy, b.Err)
			}
		}
	})
}

// TestFailures checks that each failure names what failed and whether the policy was
// loaded.
func TestFailures(t *testing.T) {
	const before, after = "the policy was not loaded", "IS LOADED, and nothing unsigned can be executed"
	for name, c := range map[string]struct {
		prepare     func(d *device)
		says, state string
	}{
		"no directory": {func(d *device) { d.remove("fake/rootfs/run") }, "has no /run to move the mount to", before},
		"no switch_root": {
			func(d *device) { d.remove("fake/rootfs/sbin/switch_root.static") }, "has no /sbin/switch_root.static: add a signed static", before,
		},
		"linked switch_root": {
			func(d *device) {
				d.remove("fake/rootfs/sbin/switch_root.static")
				d.check(os.Symlink("/bin/busybox", d.path("fake/rootfs/sbin/switch_root.static")))
			}, "is a symbolic link", before,
		},
		"dynamic switch_root": {
			// A missing interpreter fails like the missing loader of a dynamic program.
			func(d *device) { d.write("fake/rootfs/sbin/switch_root.static", "#!/nonexistent\n") }, "does not run: is it a static program", after,
		},
		"no init":   {func(d *device) { d.remove("fake/rootfs/sbin/init") }, "has no /sbin/init", before},
		"no policy": {func(d *device) { d.remove("etc/ima/ima_policy.default") }, "no policy, or an empty one", before},
		"empty custom policy": {
			func(d *device) { d.write("etc/ima/ima_policy", "") }, "an empty one, in /etc/ima/ima_policy", before,
		},
		"comments only": {func(d *device) { d.write("etc/ima/ima_policy", "# none\n") }, "ima_policy has no rule", before},
		"no IMA":        {func(d *device) { d.remove("fake/securityfs/ima") }, "the kernel has no IMA", before},
		"no securityfs": {
			func(d *device) { d.remove("fake/securityfs") }, "cannot mount securityfs", before,
		},
		"policy loaded before": {
			func(d *device) { d.remove("fake/securityfs/ima/policy") }, "accepts no policy: one was loaded already", before,
		},
		"refused rule": {
			func(d *device) {
				d.node("fake/securityfs/ima/policy", syscall.S_IFCHR, 1<<8|7) // ENOSPC for EINVAL
				d.write("etc/ima/ima_policy", "# comment\n\nappraise func=WRONG\n")
			}, "the kernel refused line 3 of /etc/ima/ima_policy, and with it the file: appraise func=WRONG", before,
		},
		"no first certificate": {func(d *device) { d.remove("etc/keys/x509_ima.der") }, "has no /etc/keys/x509_ima.der", before},
		"kernel refused the first": {
			func(d *device) {
				d.write("fake/proc/keys", strings.ReplaceAll(keyrings, " .ima: 1", " .ima: empty"))
				d.write("etc/keys/x509_ima.der", "REFUSED\n")
			}, "the kernel refused /etc/keys/x509_ima.der for .ima .add_key: Required key not available.: its issuer must be compiled in .CONFIG_SYSTEM_TRUSTED_KEYS., or be a secondary CA", before,
		},
		"refused certificate of the root file system": {
			func(d *device) { d.write("fake/rootfs/etc/keys/x509_ima_other.der", "REFUSED\n") },
			"the kernel refused /sysroot/etc/keys/x509_ima_other.der for .ima ", before,
		},
		"no keyctl": {
			func(d *device) { d.remove("usr/bin/keyctl"); d.write("etc/keys/x509_ima_rpm.der", "x\n") },
			"x509_ima_rpm.der cannot be loaded into .ima without keyctl", before,
		},
		"no keyctl for _ima": {
			func(d *device) {
				d.remove("usr/bin/keyctl")
				d.write("fake/proc/keys", strings.ReplaceAll(keyrings, " .ima: 1", " .other: 1"))
			}, "its replacement _ima cannot be made without keyctl", before,
		},
		"no blacklist": {
			func(d *device) {
				d.write("fake/proc/keys", strings.ReplaceAll(keyrings, ".ima_blacklist", ".other"))
				d.write("etc/keys/x509_revoked.der", "x\n")
			}, "no keyring .ima_blacklist .CONFIG_IMA_BLACKLIST_KEYRING", before,
		},
		"no secondary keyring": {
			func(d *device) {
				d.write("fake/proc/keys", strings.ReplaceAll(keyrings, ".secondary_trusted_keys", ".other"))
				d.write("fake/rootfs/etc/keys/x509_secondary.der", "x\n")
			}, "no keyring .secondary_trusted_keys .CONFIG_SECONDARY_TRUSTED_KEYRING", before,
		},
		"unsigned switch_root": {func(d *device) { d.write("fake/refuse", "") }, "the kernel refused /sbin/switch_root.static", after},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inShells(t, []string{"busybox", "dash"}, func(t *testing.T, shell string) {
				d := newDevice(t, shell, "standalone")
				c.prepare(d)
				d.boot().stopped(t, c.says, c.state)
			})
		})
	}
}

// TestRefusedSignedPolicy tests a kernel that accepts rules but refuses a policy's path.
func TestRefusedSignedPolicy(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		d.write("fake/rootfs/etc/ima/ima_policy", "unsigned\n")
		// After the rules, the file accepts no more writes.
		text, err := os.ReadFile(d.path("init"))
		d.check(err)
		d.write("init", strings.Replace(string(text), "\t\timasign_load_signed_policies\n", "\t\tIMASIGN_SECURITYFS=/full\n\t\timasign_load_signed_policies\n", 1))
		d.mkdir("fake/rootfs/full/ima")
		d.node("fake/rootfs/full/ima/policy", syscall.S_IFCHR, 1<<8|7)
		d.boot().stopped(t, "the kernel refused the policy /sysroot/etc/ima/ima_policy: is it signed", "IS LOADED, and nothing unsigned can be executed")
	})
}

// TestFramework runs the module as OE-core's init does: it is sourced and its functions
// are called.
func TestFramework(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "initramfs-framework")
		d.copy("/bin/busybox", "bin/mkdir")
		d.mkdir("rootfs")
		d.write("init", `#!/bin/sh
PATH=/sbin:/bin:/usr/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /run
ROOTFS_DIR=/rootfs
mount -o ro /dev/vda $ROOTFS_DIR
bootparam_init=/sbin/init
udev() { echo "udev $1 $2" >>/fake/log; }
MODULE_PRE_HOOKS=" udev"
. /init.d/95-imasign
imasign_enabled || exit 7
imasign_run "$@"
`)
		b := d.boot("single")
		b.switched(t, "SWITCHED in /rootfs: /rootfs /sbin/init single")
		if b.policy != rules(defaultPolicy(t)) || !strings.Contains(b.log, "udev pre finish\nmount --move /dev /rootfs/dev\n") {
			t.Errorf("%s%s", b.policy, b.log)
		}
	})
}
