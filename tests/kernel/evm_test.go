package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// evmFiles are programs whose metadata or values are changed after they were signed, with
// the causes of their refusals if EVM is enabled and if it is not; "" if they run.
var evmFiles = []struct {
	name, on, off string
	change        func(t *testing.T, file string)
}{
	{"same", "", "", func(*testing.T, string) {}},
	{"chmod", "invalid-fail-immutable", "", func(t *testing.T, file string) { check(t, os.Chmod(file, 0o700)) }},
	{"chown", "invalid-fail-immutable", "", func(t *testing.T, file string) { check(t, os.Chown(file, 1, 0)) }},
	{"capability", "invalid-fail-immutable", "", func(t *testing.T, file string) {
		set(t, file, "security.capability", []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}},
	{"label", "invalid-fail-immutable", "", func(t *testing.T, file string) { set(t, file, "security.SMACK64", []byte("label")) }},
	{"user", "", "", func(t *testing.T, file string) { set(t, file, "user.note", []byte("not protected")) }},
	{"words", "invalid-fail-immutable", "", func(t *testing.T, file string) { signEVM(t, file, "--evm-target", "32le") }},
	{"order", "invalid-fail-immutable", "", func(t *testing.T, file string) { signEVM(t, file, "--evm-target", "64be") }},
	{"rogue", "invalid-fail-immutable", "", func(t *testing.T, file string) {
		signEVM(t, file, "--evm-key", keys(t)["rogue"].file("key"), "--evm-cert", keys(t)["rogue"].file("crt"))
	}},
	{"bound", "invalid-HMAC", "", func(t *testing.T, file string) {
		check(t, unix.Removexattr(file, "security.evm"))
		harness.Must(t, harness.Tool(t, "evmctl"), "sign", "--uuid", "--key", filepath.Join(string(keys(t)["rsa2048"]), "x509_evm.key"), file)
	}},
	{"missing", "missing-HMAC", "", func(t *testing.T, file string) { check(t, unix.Removexattr(file, "security.evm")) }},
	{"alone", "IMA-signature-required", "IMA-signature-required", func(t *testing.T, file string) { check(t, unix.Removexattr(file, "security.ima")) }},
	{"digest", "", "IMA-signature-required", func(t *testing.T, file string) { signEVM(t, file, "--ima", "digest") }},
	{"digest-chmod", "invalid-fail-immutable", "IMA-signature-required", func(t *testing.T, file string) {
		signEVM(t, file, "--ima", "digest")
		check(t, os.Chmod(file, 0o700))
	}},
	{"digest-append", "invalid-hash", "IMA-signature-required", func(t *testing.T, file string) {
		signEVM(t, file, "--ima", "digest")
		appendTo(t, file)
	}},
	{"append", "invalid-signature", "invalid-signature", appendTo},
	{"sha512", "", "", func(t *testing.T, file string) { signEVM(t, file, "--hash", "sha512") }},
}

func set(t *testing.T, file, name string, value []byte) {
	t.Helper()
	check(t, unix.Setxattr(file, name, value, 0))
}

func appendTo(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString("\n")
	check(t, err)
	check(t, f.Close())
}

// signEVM signs files of a tree with the sample keys, or those in flags.
func signEVM(t *testing.T, file string, flags ...string) {
	t.Helper()
	sample := string(keys(t)["rsa2048"])
	args := []string{"rootfs", "sign", "--progress=none", "--force", "--key", sample, "--evm", "portable"}
	if !strings.Contains(strings.Join(flags, " "), "--evm-target") {
		args = append(args, "--evm-target", "64le")
	}
	dir := file
	if info, err := os.Stat(file); err == nil && !info.IsDir() {
		dir = filepath.Dir(file)
		args = append(args, "--include", "/"+filepath.Base(file))
	}
	harness.Must(t, harness.Program(t), append(append(args, flags...), dir)...)
}

// evmTree makes a signed root file system with evmFiles, and returns the steps that try
// them.
func evmTree(t *testing.T, k kernel, enabled bool, further []step) (dir string, steps []step) {
	t.Helper()
	dir = newTree(t, k)
	for _, f := range evmFiles {
		program(t, "program", filepath.Join(dir, "usr/bin/evm-"+f.name))
		do, cause := "exec\t/usr/bin/evm-"+f.name, f.off
		if enabled {
			cause = f.on
		}
		if cause == "" {
			steps = append(steps, runs(do))
		} else {
			steps = append(steps, refused(do, cause))
		}
	}
	steps = append(steps, further...)
	plan(t, dir, steps, "")
	signEVM(t, dir)
	for _, f := range evmFiles {
		f.change(t, filepath.Join(dir, "usr/bin/evm-"+f.name))
	}
	return dir, steps
}

// evmDevice is a device of TestEVM.
type evmDevice struct {
	fs      string
	enabled bool // it has a certificate for EVM
}

// evmDevices returns the devices of TestEVM. IMASIGN_NIGHTLY=1 adds file systems.
func evmDevices() []evmDevice {
	devices := []evmDevice{{"ext4", true}, {"ext4", false}}
	if os.Getenv("IMASIGN_NIGHTLY") == "1" {
		devices = append(devices, evmDevice{"squashfs", true}, evmDevice{"erofs", true})
	}
	return devices
}

// TestEVM boots devices that have a certificate for EVM, and devices that have not.
func TestEVM(t *testing.T) {
	harness.Root(t)
	for _, c := range evmDevices() {
		name := c.fs
		if !c.enabled {
			name += " without EVM"
		}
		t.Run(name, func(t *testing.T) {
			k := built(t)
			certificate := filepath.Join(string(keys(t)["rsa2048"]), "x509_evm.crt")
			var further []step
			line, boot, simulate := "root=/dev/vda rootfstype="+c.fs, flags("--cert", trusted(t, "rsa2048")), []string{}
			if c.enabled {
				boot = append(boot, "--evm-cert", certificate)
				simulate = append(simulate, "--evm-cert", certificate)
				further = append(further, step{"keyring\t.evm", "", "1", "", false})
			}
			if c.fs == "ext4" && c.enabled {
				line += " rw"
				further = append(further, changesUnderEVM()...)
			}
			dir, steps := evmTree(t, k, c.enabled, further)
			console := machine{kernel: k, disk: image(t, c.fs, dir), line: line, initramfs: bundle(t, t.TempDir(), boot...)}.boot(t)
			if strings.Contains(console.said, "imasign: EVM is enabled") != c.enabled {
				t.Error("the hook does not report the state of EVM")
			}
			console.compare(t, steps, after)
			console.predictedWith(t, k, defaultPolicy(t), dir, c.fs, steps, simulate, trusted(t, "rsa2048")...)
		})
	}
}

// changesUnderEVM returns the steps that change files on a running device.
func changesUnderEVM() (steps []step) {
	for _, c := range changes {
		file := "\t/usr/bin/change-" + c.do
		steps = append(steps, step{"exec" + file, "", "ok", "", false}, step{c.do + file, "", c.evm, "", false}, step{"exec" + file, "", c.evmRuns, c.evmCause, false})
	}
	return steps
}

// TestHookStopsWithoutEVM boots a device whose certificate for EVM the kernel refuses.
func TestHookStopsWithoutEVM(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir, _ := evmTree(t, k, true, nil)
	said, _ := machine{
		kernel: k, disk: image(t, "ext4", dir), line: "root=/dev/vda",
		initramfs: bundle(t, t.TempDir(), append(flags("--cert", trusted(t, "rsa2048")), "--evm-cert", keys(t)["rogue"].file("crt"))...),
	}.run(t)
	for _, want := range []string{"imasign: the kernel refused /etc/keys/x509_evm.der for .evm", "imasign: stopped: the policy was not loaded", "Kernel panic"} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s\n%s", want, tail(said, 40))
		}
	}
}
