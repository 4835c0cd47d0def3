package initramfs

import (
	"strings"
	"syscall"
	"testing"
)

// newEVMDevice makes a device with a certificate for EVM, whose kernel has loaded it and
// shows state after EVM was enabled.
func newEVMDevice(t *testing.T, shell, state string, flags ...string) *device {
	t.Helper()
	d := newDevice(t, shell, "standalone", append(flags, "--evm-cert", sharedPath(t, "keys/x509_evm.crt"))...)
	d.addEVM(state)
	return d
}

// addEVM gives the kernel EVM with a certificate.
func (d *device) addEVM(state string) {
	d.t.Helper()
	d.state = state
	d.node("fake/securityfs/evm", syscall.S_IFIFO, 0)
	d.keyring(".evm", "1")
}

// keyring adds a keyring to those of the kernel, with the number of its keys.
func (d *device) keyring(name, count string) {
	d.t.Helper()
	d.write("fake/proc/keys", keyrings+"0c3d1e3f I------     1 perm 1f0b0000     0     0 keyring   "+name+": "+count+"\n")
}

// TestEVM checks that the hook enables EVM and closes it, before it writes the first rule.
func TestEVM(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		for _, state := range []string{"2\n", "3\n", "2"} {
			b := newEVMDevice(t, shell, state).boot()
			b.switched(t, "/sysroot /sbin/init")
			if want := "EVM 0x80000002\n" + rules(defaultPolicy(t)); b.policy != want {
				t.Errorf("written:\n%s", b.policy)
			}
			if b.Err != "imasign: EVM is enabled\n" || strings.Contains(b.log, "load ") {
				t.Errorf("%s%s", b.log, b.Err)
			}
		}
	})
}

// TestEVMVersion3 checks that the hook makes EVM demand version 3 signatures, and stops if the
// kernel does not.
func TestEVMVersion3(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		for _, state := range []string{"10\n", "11", "1"} { // 1 if the shell reads single bytes
			b := newEVMDevice(t, shell, state, "--evm-v3").boot()
			b.switched(t, "/sysroot /sbin/init")
			if want := "EVM 0x8000000a\n" + rules(defaultPolicy(t)); b.policy != want {
				t.Errorf("written:\n%s", b.policy)
			}
			if b.Err != "imasign: EVM is enabled, and demands version 3 signatures\n" {
				t.Error(b.Err)
			}
		}
		b := newEVMDevice(t, shell, "2\n", "--evm-v3").boot()
		if b.Code == 0 || !strings.Contains(b.Err, "its state is 2, not 10 or 11") || b.policy != "EVM 0x8000000a\n" {
			t.Errorf("exit %d: %s%s", b.Code, b.policy, b.Err)
		}
		d := newEVMDevice(t, shell, "", "--evm-v3")
		d.node("fake/securityfs/evm", syscall.S_IFCHR, 1<<8|7) // refuses
		if b := d.boot(); b.Code == 0 || !strings.Contains(b.Err, "or the kernel is older than 7.1, and cannot demand version 3 signatures") {
			t.Errorf("exit %d: %s", b.Code, b.Err)
		}
	})
}

// TestNoEVM checks that the hook leaves EVM alone if the initramfs has no certificate for
// it, or if ima_appraise=off keeps the policy away.
func TestNoEVM(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newDevice(t, shell, "standalone")
		d.addEVM("2\n")
		d.write("fake/rootfs/etc/keys/x509_evm.der", "of the root file system\n")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if b.policy != rules(defaultPolicy(t)) || b.Err != "" || strings.Contains(b.log, "load ") {
			t.Errorf("%s%s%s", b.policy, b.log, b.Err)
		}
		d = newEVMDevice(t, shell, "2\n", "--allow-off")
		d.write("fake/proc/cmdline", "root=/dev/vda ima_appraise=off\n")
		b = d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if b.policy != "" || strings.Contains(b.Err, "EVM") {
			t.Errorf("%s%s", b.policy, b.Err)
		}
	})
}

// TestEVMCertificates checks that further certificates come from the initramfs, and then
// from the root file system.
func TestEVMCertificates(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newEVMDevice(t, shell, "2\n")
		d.write("etc/keys/x509_evm_second.der", "second\n")
		d.copy(d.path("etc/keys/x509_evm.der"), "fake/rootfs/etc/keys/x509_evm.der")
		d.write("fake/rootfs/etc/keys/x509_evm_later.der", "later\n")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if !strings.Contains(b.log, "load %:.evm second\nload %:.evm later\nmount --move") || strings.Count(b.log, "load ") != 2 {
			t.Error(b.log)
		}
	})
}

// TestEVMWithoutTrustedKeyring tests a distribution's kernel, which loads no certificate
// and does not check issuers.
func TestEVMWithoutTrustedKeyring(t *testing.T) {
	everyShell(t, func(t *testing.T, shell string) {
		d := newEVMDevice(t, shell, "2\n")
		d.keyring(".other", "1")
		d.write("etc/keys/x509_evm.der", "first\n")
		d.write("etc/keys/x509_evm_second.der", "second\n")
		d.write("fake/rootfs/etc/keys/x509_evm_later.der", "later\n")
		b := d.boot()
		b.switched(t, "/sysroot /sbin/init")
		if !strings.Contains(b.log, "newring _evm @u\nload %:_evm first\nload %:_evm second\nmount --move") || strings.Count(b.log, "load ") != 2 {
			t.Error(b.log)
		}
		for _, want := range []string{"no .evm keyring", "x509_evm_later.der is not loaded: the kernel does not check the issuers", "EVM is enabled"} {
			if !strings.Contains(b.Err, want) {
				t.Errorf("no %q in\n%s", want, b.Err)
			}
		}
		if !strings.HasPrefix(b.policy, "EVM 0x80000002\n") {
			t.Errorf("written:\n%s", b.policy)
		}
	})
}

// TestEVMFailures checks that a device does not boot without the EVM that it must have.
func TestEVMFailures(t *testing.T) {
	for name, c := range map[string]struct {
		state   string
		prepare func(d *device)
		says    string
	}{
		"not enabled":        {"0\n", nil, "its state is 0, not 2 or 3"},
		"only HMAC":          {"1\n", nil, "its state is 1, not 2 or 3"},
		"open":               {"6\n", nil, "its state is 6, not 2 or 3"},
		"version 3":          {"10\n", nil, "its state is 10, not 2 or 3"},
		"unreadable":         {"", nil, "cannot read the state of EVM"},
		"refused":            {"", func(d *device) { d.node("fake/securityfs/evm", syscall.S_IFCHR, 1<<8|7) }, "the kernel refused to enable EVM"},
		"kernel without EVM": {"", func(d *device) { d.remove("fake/securityfs/evm") }, "the kernel has no EVM: is CONFIG_EVM set"},
		"no keyctl for _evm": {"", func(d *device) { d.keyring(".other", "1"); d.remove("usr/bin/keyctl") }, "its replacement _evm cannot be made without keyctl"},
		"no keyctl":          {"", func(d *device) { d.keyring(".evm", "empty"); d.remove("usr/bin/keyctl") }, "x509_evm.der cannot be loaded into .evm without keyctl"},
		"issuer": {"", func(d *device) {
			d.keyring(".evm", "empty")
			d.write("etc/keys/x509_evm.der", "REFUSED\n")
		}, "the kernel refused /etc/keys/x509_evm.der for .evm .add_key: Required key not available.: its issuer must be compiled in .CONFIG_SYSTEM_TRUSTED_KEYS.; "},
		"issuer of a later one": {"2\n", func(d *device) { d.write("fake/rootfs/etc/keys/x509_evm_later.der", "REFUSED\n") }, "the kernel refused /sysroot/etc/keys/x509_evm_later.der for .evm "},
		"keyring stays empty": {"", func(d *device) {
			d.keyring(".evm", "empty")
			d.write("usr/bin/keyctl", "#!/fake/busybox sh\n")
		}, "the keyring .evm is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyShell(t, func(t *testing.T, shell string) {
				d := newEVMDevice(t, shell, c.state)
				if c.prepare != nil {
					c.prepare(d)
				}
				b := d.boot()
				b.stopped(t, c.says, "the policy was not loaded")
				if strings.Contains(b.policy, "appraise") {
					t.Errorf("written:\n%s", b.policy)
				}
			})
		})
	}
}
