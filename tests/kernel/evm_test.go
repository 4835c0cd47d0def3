package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
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
	{"double", "invalid-fail-immutable", "IMA-signature-required", useTwice},
}

// useTwice makes an unsigned program pass for a signed one where the kernel trusts the key
// for security.ima also for security.evm. It takes the signature of another file, whose
// content is the input of the EVM digest.
func useTwice(t *testing.T, file string) {
	t.Helper()
	check(t, unix.Removexattr(file, "security.evm"))
	check(t, os.Chmod(file, 0o755))
	content, err := os.ReadFile(file)
	check(t, err)
	digest := sha256.Sum256(content)
	hashed := append([]byte{byte(ima.TypeDigestNG), byte(ima.SHA256)}, digest[:]...)
	set(t, file, "security.ima", hashed)
	// struct h_misc of a 64-bit little-endian kernel, for root's file of mode 0755
	misc := make([]byte, 24)
	binary.LittleEndian.PutUint16(misc[20:], unix.S_IFREG|0o755)
	input := filepath.Join(t.TempDir(), "input")
	write(t, input, string(append(hashed, misc...)))
	sample := keys(t)["rsa2048"]
	refusal := harness.Run(t, harness.Program(t), "rootfs", "sign", "--key", string(sample), filepath.Dir(input))
	if refusal.Code != 1 || !strings.Contains(refusal.Err, "input") || !strings.Contains(refusal.Err, "EVM") {
		t.Errorf("rootfs sign: exit %d: %s", refusal.Code, refusal.Err)
	}
	harness.Must(t, harness.Tool(t, "evmctl"), "ima_sign", "-a", "sha256", "--key", sample.file("key"), "--keyid-from-cert", sample.file("crt"), input)
	value := make([]byte, 1024)
	n, err := unix.Getxattr(input, "security.ima", value)
	check(t, err)
	value[0] = byte(ima.TypeEVMPortable)
	set(t, file, "security.evm", value[:n])
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
// them on the device.
func evmTree(t *testing.T, d evmDevice) (dir string, steps []step) {
	t.Helper()
	dir = newTree(t, d.kernel(t))
	for _, f := range evmFiles {
		program(t, "program", filepath.Join(dir, "usr/bin/evm-"+f.name))
		do, cause := "exec\t/usr/bin/evm-"+f.name, f.off
		if d.enabled {
			cause = f.on
		}
		if d.double && f.name == "double" {
			cause = ""
		}
		if cause == "" {
			steps = append(steps, runs(do))
		} else {
			steps = append(steps, refused(do, cause))
		}
	}
	steps = append(steps, d.steps(t, dir)...)
	plan(t, dir, steps, "")
	if d.sign == nil {
		signEVM(t, dir)
	} else {
		dir = d.sign(t, dir)
	}
	for _, f := range evmFiles {
		f.change(t, filepath.Join(dir, "usr/bin/evm-"+f.name))
	}
	return dir, steps
}

// evmDevice is a device of TestEVM.
type evmDevice struct {
	name    string
	kernel  func(t *testing.T) kernel
	fs      string
	enabled bool // it has a certificate for EVM
	double  bool // it trusts the key for security.ima also for security.evm
	updates bool // files are changed and installed on it
	// sign signs a tree and returns the result; nil for rootfs sign.
	sign func(t *testing.T, dir string) string
}

// evmDevices returns the devices of TestEVM. IMASIGN_NIGHTLY=1 adds another kernel, and
// file systems that are filled from archives.
func evmDevices() []evmDevice {
	devices := []evmDevice{
		{name: "ext4", kernel: built, fs: "ext4", enabled: true, double: true, updates: true},
		{name: "ext4 without EVM", kernel: built, fs: "ext4"},
	}
	if harness.Nightly() {
		devices = append(devices,
			evmDevice{name: "debian", kernel: debian, fs: "ext4", enabled: true},
			evmDevice{name: "squashfs", kernel: built, fs: "squashfs", enabled: true, sign: throughArchive("tar", "--xattrs", "--xattrs-include=*")},
			evmDevice{name: "erofs", kernel: built, fs: "erofs", enabled: true, sign: throughArchive("bsdtar")},
		)
	}
	return devices
}

// keyring returns the name of the keyring for EVM.
func (d evmDevice) keyring(t *testing.T) string {
	if d.kernel(t).release == "6.1" { // Debian's has no trusted keyrings
		return "_evm"
	}
	return ".evm"
}

// steps returns the steps that do not depend only on the image.
func (d evmDevice) steps(t *testing.T, dir string) (steps []step) {
	t.Helper()
	if d.enabled {
		steps = append(steps, step{"keyring\t" + d.keyring(t), "", strconv.Itoa(len(d.certificates(t))), "", false})
		if d.fs == "ext4" {
			steps = append(steps, changesUnderEVM()...)
		}
	}
	if d.updates {
		steps = append(steps, updatesUnderEVM(t, dir)...)
	}
	return steps
}

// certificates returns the certificates for EVM.
func (d evmDevice) certificates(t *testing.T) (list []string) {
	t.Helper()
	if d.enabled {
		list = append(list, filepath.Join(string(keys(t)["rsa2048"]), "x509_evm.crt"))
	}
	if d.double {
		list = append(list, keys(t)["rsa2048"].file("crt"))
	}
	return list
}

// boot boots the device with an image.
func (d evmDevice) boot(t *testing.T, image string) *console {
	t.Helper()
	k, extra := d.kernel(t), t.TempDir()
	if k.release == "6.1" {
		extra = drivers(t, k)
	}
	args := append(flags("--cert", trusted(t, "rsa2048")), "--kernel", k.release)
	if d.enabled {
		args = append(args, "--evm-cert", d.certificates(t)[0])
	}
	if d.double { // initramfs bundle refuses this
		copyTo(t, keys(t)["rsa2048"].file("der"), filepath.Join(extra, "etc/keys/x509_evm_double.der"))
	}
	line := "root=/dev/vda rootfstype=" + d.fs
	if d.fs == "ext4" {
		line += " rw"
	}
	c := machine{kernel: k, disk: image, line: line, initramfs: bundle(t, extra, args...)}.boot(t)
	if strings.Contains(c.said, "imasign: EVM is enabled") != d.enabled {
		t.Error("the hook does not report the state of EVM")
	}
	return c
}

// TestEVM boots devices that have a certificate for EVM, and one that has not.
func TestEVM(t *testing.T) {
	harness.Root(t)
	for _, d := range evmDevices() {
		t.Run(d.name, func(t *testing.T) {
			dir, steps := evmTree(t, d)
			c := d.boot(t, image(t, d.fs, dir))
			c.compare(t, steps, after)
			c.predictedWith(t, d.kernel(t), defaultPolicy(t), dir, d.fs, steps, flags("--evm-cert", d.certificates(t)), trusted(t, "rsa2048")...)
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

// updatesUnderEVM adds programs and updates to a tree, and returns the steps that install
// them on the running device.
func updatesUnderEVM(t *testing.T, dir string) []step {
	t.Helper()
	sample := string(keys(t)["rsa2048"])
	program(t, "imasign-build", filepath.Join(dir, "usr/bin/imasign-build"))
	for _, name := range []string{"tar", "bsdtar", "cp"} {
		libraries(t, harness.Tool(t, name), dir)
	}
	copyTo(t, "/etc/xattr.conf", filepath.Join(dir, "etc/xattr.conf")) // which xattrs cp -a leaves out
	for _, name := range []string{"x509_ima.crt", "x509_evm.crt"} {
		copyTo(t, filepath.Join(sample, name), filepath.Join(dir, "etc/device", name))
	}
	update := addRPM(t, dir)
	check(t, os.MkdirAll(filepath.Join(dir, "opt/tar"), 0o755))
	check(t, os.MkdirAll(filepath.Join(dir, "opt/bsdtar"), 0o755))

	// The signatures of the update's files travel in a manifest, because packages have none for EVM.
	updated := t.TempDir()
	program(t, "program", filepath.Join(updated, "program"))
	f, err := os.OpenFile(filepath.Join(updated, "program"), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString("updated\n")
	check(t, err)
	check(t, f.Close())
	harness.Must(t, harness.Program(t), "rootfs", "sign", "--progress=none", "--key", sample, "--evm", "portable", "--evm-target", "64le",
		"--output", "none", "--manifest", filepath.Join(dir, "root/update.jsonl"), updated)
	plain := filepath.Join(t.TempDir(), "plain.tar")
	harness.Must(t, "tar", "-C", updated, "-cf", plain, "program")
	harness.Must(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", sample, "--evm", "portable", "--evm-target", "64le", plain, "-o", filepath.Join(dir, "root/signed.tar"))

	sh := func(line string) step { return step{"sh\t" + line, "", "ok", "", false} }
	exec := func(file, after, cause string) step { return step{"exec\t" + file, "", after, cause, false} }
	return []step{
		exec("/opt/packaged/program", "ok", ""),
		sh(update),
		sh("grep -q updated /opt/packaged/program"),
		exec("/opt/packaged/program", "EACCES", "missing-HMAC"),
		sh("imasign-build manifest apply --cert /etc/device/x509_ima.crt --evm-cert /etc/device/x509_evm.crt --evm-target 64le /root/update.jsonl /opt/packaged"),
		exec("/opt/packaged/program", "ok", ""),
		sh("/usr/bin/tar --xattrs --xattrs-include='*' -C /opt/tar -xpf /root/signed.tar"),
		exec("/opt/tar/program", "ok", ""),
		sh("/usr/bin/bsdtar -C /opt/bsdtar -xpf /root/signed.tar"),
		exec("/opt/bsdtar/program", "ok", ""),
		sh("/usr/bin/cp -a /usr/bin/signed /opt/copy"),
		exec("/opt/copy", "EACCES", "missing-HMAC"),
		{"unsign-evm\t/usr/bin/signed", "", "EPERM", "", false},
		exec("/usr/bin/signed", "ok", ""),
		// The kernel lets the label of a security module that it does not have be changed, and
		// keeps the earlier result until the inode leaves the cache.
		sh("sync; echo 3 >/proc/sys/vm/drop_caches"),
		exec("/usr/bin/change-label", "EACCES", "invalid-fail-immutable"),
	}
}

// throughArchive returns a function that signs a tree as an archive and extracts it with a
// tar program.
func throughArchive(program string, flags ...string) func(t *testing.T, dir string) string {
	return func(t *testing.T, dir string) string {
		t.Helper()
		plain, signed, out := filepath.Join(t.TempDir(), "plain.tar"), filepath.Join(t.TempDir(), "signed.tar"), filepath.Join(t.TempDir(), "root")
		harness.Must(t, "tar", "-C", dir, "-cf", plain, ".")
		harness.Must(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", string(keys(t)["rsa2048"]), "--evm", "portable", "--evm-target", "64le", plain, "-o", signed)
		check(t, os.Mkdir(out, 0o755))
		harness.Must(t, harness.Tool(t, program), append(flags, "-C", out, "-xpf", signed)...)
		return out
	}
}

// emulatedBuild is a build of an image by an unprivileged user.
type emulatedBuild struct{ emulator, fs, command string }

// emulatedBuilds returns the builds of TestEVMOfUnprivilegedBuilds. IMASIGN_NIGHTLY=1 adds
// some.
func emulatedBuilds() []emulatedBuild {
	builds := []emulatedBuild{{"pseudo", "ext4", "mkfs.ext4 -q -d root image 128M"}}
	if harness.Nightly() {
		builds = append(builds,
			emulatedBuild{"fakeroot", "squashfs", "mksquashfs root image -quiet -no-progress -comp gzip"},
			emulatedBuild{"fakeroot", "ext4", "mkfs.ext4 -q -d root image 128M"},
			emulatedBuild{"pseudo", "erofs", "mkfs.erofs --quiet image root"},
		)
	}
	return builds
}

// TestEVMOfUnprivilegedBuilds boots images whose owners, modes and xattrs were only emulated
// when they were signed.
func TestEVMOfUnprivilegedBuilds(t *testing.T) {
	for _, c := range emulatedBuilds() {
		t.Run(c.emulator+" "+c.fs, func(t *testing.T) {
			b, k := harness.NewBuilder(t), built(t)
			dir := newTree(t, k)
			var steps []step
			for name, cause := range map[string]string{"owner": "", "setuid": "", "capability": "", "chmod": "invalid-fail-immutable", "chown": "invalid-fail-immutable"} {
				program(t, "program", filepath.Join(dir, "usr/bin/evm-"+name))
				s := runs("exec\t/usr/bin/evm-" + name)
				if cause != "" {
					s = refused("exec\t/usr/bin/evm-"+name, cause)
				}
				steps = append(steps, s)
			}
			plan(t, dir, steps, "")
			harness.Must(t, "cp", "-a", dir, b.Path("root"))
			harness.Must(t, "cp", "-a", string(keys(t)["rsa2048"]), b.Path("keys"))
			copyTo(t, defaultPolicy(t), b.Path("policy"))
			copyTo(t, k.config(), b.Path("config"))
			info, err := os.Stat(b.Dir)
			check(t, err)
			owner := fmt.Sprintf("%d:%d", info.Sys().(*syscall.Stat_t).Uid, info.Sys().(*syscall.Stat_t).Gid)
			harness.Must(t, "chown", "-hR", owner, b.Path("root"), b.Path("keys"), b.Path("policy"), b.Path("config"))
			run := b.Pseudo
			if c.emulator == "fakeroot" {
				run = b.Fakeroot
			}
			b.OK(run(`chown -hR 0:0 root
				cd root/usr/bin
				chown 1000:100 evm-owner evm-setuid
				chmod 4755 evm-setuid
				setfattr -n security.capability -v 0x0000000200040000000000000000000000000000 evm-capability
				cd ../../..
				imasign-build rootfs sign --progress=none --key keys --evm portable --evm-target 64le root
				chmod 0700 root/usr/bin/evm-chmod
				chown 1:0 root/usr/bin/evm-chown
				imasign-build policy simulate policy --rootfs root --fs ` + c.fs + ` --kernel ` + k.release + ` --kernel-config config \
					--json --cert keys/x509_ima.crt --evm-cert keys/x509_evm.crt >report || [ $? = 3 ]
				` + c.command))
			console := evmDevice{kernel: built, fs: c.fs, enabled: true}.boot(t, b.Path("image"))
			console.compare(t, steps, after)
			report, err := os.ReadFile(b.Path("report"))
			check(t, err)
			console.agrees(t, k, string(report), steps)
		})
	}
}

// TestOffWithEVM boots with ima_appraise=off. The hook does not enable EVM, but the kernel
// itself has loaded the certificate. It then protects the metadata of signed files, until
// root allows changes, which is possible because EVM is not closed.
func TestOffWithEVM(t *testing.T) {
	harness.Root(t)
	d := evmDevice{kernel: built, fs: "ext4", enabled: true}
	dir, _ := evmTree(t, d)
	sh := func(line string) step { return step{"sh\t" + line, "", "ok", "", false} }
	steps := []step{
		sh("grep -qx 2 /sys/kernel/security/evm"),
		runs("exec\t/usr/bin/evm-missing"),
		{"chmod\t/usr/bin/change-chmod", "", "EPERM", "", false},
		sh("echo 4 >/sys/kernel/security/evm"),
		{"chmod\t/usr/bin/change-chmod", "", "ok", "", false},
	}
	plan(t, dir, steps, "")
	c := machine{
		kernel: built(t), disk: image(t, "ext4", dir), line: "root=/dev/vda rw ima_appraise=off",
		initramfs: bundle(t, t.TempDir(), append(flags("--cert", trusted(t, "rsa2048")), "--allow-off", "--evm-cert", d.certificates(t)[0])...),
	}.boot(t)
	c.compare(t, steps, after)
	if strings.Contains(c.said, "imasign: EVM is enabled") {
		t.Error("the hook has enabled EVM")
	}
}

// TestHookStopsWithoutEVM boots a device whose certificate for EVM the kernel refuses.
func TestHookStopsWithoutEVM(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir, _ := evmTree(t, evmDevice{kernel: built, fs: "ext4", enabled: true})
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
