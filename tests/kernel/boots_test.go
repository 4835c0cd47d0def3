package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// onDevice are the keys whose certificates a device usually loads.
var onDevice = []string{"rsa2048", "rsa4096", "p256", "p384"}

// refused returns a step that depends only on the image and is refused with the policy.
func refused(do, cause string) step { return step{do, "ok", "EACCES", cause, true} }

// runs returns a step that depends only on the image and is never refused.
func runs(do string) step { return step{do, "ok", "ok", "", true} }

// TestBeforeAndAfter tries the same machine without a policy and with one. Without a
// policy everything runs, so that later refusals have no other cause than the policy.
func TestBeforeAndAfter(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir := newTree(t, k)
	policy := defaultPolicy(t)
	copyTo(t, policy, filepath.Join(dir, "etc/policy"))
	for _, v := range variants { // where the hook would load them
		copyTo(t, filepath.Join(dir, "etc/policies", v), filepath.Join(dir, "etc/ima/ima_policy."+v))
	}
	steps := slices.Concat(files(k), firmwares(), device(k), policies("/etc/ima/ima_policy.", true), []step{
		runs("exec\t/usr/bin/revoked"), // nothing is revoked here
		refused("exec\t/usr/bin/secondary", "invalid-signature"),
	})
	plan(t, dir, steps, "/etc/policy")
	sign(t, dir, keys(t)["rsa2048"])
	spoil(t, dir)
	certificates := trusted(t, append(onDevice, "revoked")...)
	c := machine{
		kernel: k, disk: image(t, "ext4", dir), line: "root=/dev/vda rootfstype=ext4 ima_appraise=off",
		initramfs: bundle(t, t.TempDir(), append(flags("--cert", certificates), "--allow-off")...),
	}.boot(t)
	if !strings.Contains(c.said, "NO POLICY IS LOADED") {
		t.Error("the hook does not say that it loads no policy")
	}
	c.compare(t, steps, before, after)
	c.predicted(t, k, policy, dir, "ext4", steps, certificates...)
}

// TestContainers boots images whose signatures came from packages and archives, on
// read-only file systems. The hook's policy cannot be switched off, because neither the
// kernel nor the bundle was made for that.
func TestContainers(t *testing.T) {
	harness.Root(t)
	k := built(t)
	for fs, fill := range map[string]func(t *testing.T, from, to string){"squashfs": fromPackage, "erofs": fromArchive} {
		t.Run(fs, func(t *testing.T) {
			unsigned, dir := newTree(t, k), filepath.Join(t.TempDir(), "root")
			steps := slices.Concat(files(k), firmwares(), policies("/etc/policies/", false), []step{
				// The bundle contains only the default policy.
				{"sh\tgrep -q POLICY_CHECK /sys/kernel/security/ima/policy", "", "ok", "", false},
			})
			plan(t, unsigned, steps, "")
			fill(t, unsigned, dir)
			spoil(t, dir)
			certificates := trusted(t, onDevice...)
			c := machine{
				kernel: k, disk: image(t, fs, dir), line: "ima_appraise=off root=/dev/vda rootfstype=" + fs,
				initramfs: bundle(t, t.TempDir(), flags("--cert", certificates)...),
			}.boot(t)
			if !strings.Contains(c.said, "ima_appraise=off is ignored and the policy loaded") {
				t.Error("the hook does not say that it loads the policy all the same")
			}
			c.compare(t, steps, after)
			c.predicted(t, k, defaultPolicy(t), dir, fs, steps, certificates...)
		})
	}
}

// fromPackage installs a tree from a signed package with rpm.
func fromPackage(t *testing.T, from, to string) {
	t.Helper()
	packages.Install(t, to, signedPackage(t, from, "1"), "--dbpath", "/var/lib/rpm")
}

// signedPackage makes a package of a tree with rpmbuild and signs it.
func signedPackage(t *testing.T, from, version string) string {
	t.Helper()
	top := t.TempDir()
	harness.Must(t, harness.Tool(t, "rpmbuild"), "-bb", "--quiet", "--define", "_topdir "+top, "--define", "from "+from, "--define", "number "+version,
		"testdata/tree.spec")
	found, err := filepath.Glob(filepath.Join(top, "RPMS/*/*.rpm"))
	check(t, err)
	if len(found) != 1 {
		t.Fatalf("rpmbuild made %q", found)
	}
	sample := keys(t)["rsa2048"]
	harness.Must(t, harness.Program(t), "rpm", "sign", "--progress=none", "--key", sample.file("key"), "--cert", sample.file("crt"), found[0])
	return found[0]
}

// fromArchive extracts a tree from a signed archive with GNU tar.
func fromArchive(t *testing.T, from, to string) {
	t.Helper()
	sample, plain, signed := keys(t)["rsa2048"], filepath.Join(t.TempDir(), "plain.tar"), filepath.Join(t.TempDir(), "signed.tar")
	harness.Must(t, "tar", "-C", from, "-cf", plain, ".")
	harness.Must(t, harness.Program(t), "tar", "sign", "--progress=none", "--key", sample.file("key"), "--cert", sample.file("crt"), plain, "-o", signed)
	check(t, os.Mkdir(to, 0o755))
	harness.Must(t, "tar", "--xattrs", "--xattrs-include=*", "-C", to, "-xpf", signed)
}

// changes are changes to a signed program on the device, and the results of running it
// afterwards, without EVM and with it.
var changes = []struct {
	do, runs, cause        string
	evm, evmRuns, evmCause string
}{
	{"chmod", "ok", "", "EPERM", "ok", ""},
	{"chown", "ok", "", "EPERM", "ok", ""},
	{"touch", "ok", "", "ok", "ok", ""},
	{"rename", "ok", "", "ok", "ok", ""},
	{"overwrite", "ok", "", "ok", "ok", ""},
	{"truncate", "ok", "", "ok", "ok", ""},
	{"keep", "ok", "", "ok", "EACCES", "missing-HMAC"}, // security.evm is not restored
	{"replace", "EACCES", "IMA-signature-required", "ok", "EACCES", "IMA-signature-required"},
	{"append", "EACCES", "invalid-signature", "ok", "EACCES", "invalid-signature"},
	{"capability", "ok", "", "EPERM", "ok", ""},
	{"label", "ok", "", "ok", "ok", ""}, // with EVM until the kernel appraises the file again
	{"note", "ok", "", "ok", "ok", ""},
	{"unsign", "EACCES", "IMA-signature-required", "EPERM", "ok", ""},
}

func changeNames() (names []string) {
	for _, c := range changes {
		names = append(names, "change-"+c.do)
	}
	return names
}

func changeSteps() (steps []step) {
	for _, c := range changes {
		file := "\t/usr/bin/change-" + c.do
		steps = append(steps, runs("exec"+file), step{c.do + file, "", "ok", "", false}, step{"exec" + file, "", c.runs, c.cause, false})
	}
	return steps
}

// TestDevice changes, signs and installs files on a running device. Its policies are the
// custom one of the bundle and a signed one of the root file system.
func TestDevice(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir := newTree(t, k)
	sample := keys(t)["rsa2048"]
	program(t, "imasign-build", filepath.Join(dir, "usr/bin/imasign-build"))
	copyTo(t, sample.file("key"), filepath.Join(dir, "etc/device/x509_ima.key"))
	copyTo(t, sample.file("crt"), filepath.Join(dir, "etc/device/x509_ima.crt"))
	update := addRPM(t, dir)
	write(t, filepath.Join(dir, "etc/ima/ima_policy"), "audit func=KEXEC_INITRAMFS_CHECK\n")
	check(t, os.MkdirAll(filepath.Join(dir, "opt"), 0o755))

	steps := slices.Concat(files(k), changeSteps(), []step{
		{"sh\tgrep -q KEXEC_KERNEL_CHECK /sys/kernel/security/ima/policy", "", "ok", "", false},
		{"sh\tgrep -q KEXEC_INITRAMFS_CHECK /sys/kernel/security/ima/policy", "", "ok", "", false},
		{"copy\t/usr/bin/signed\t/opt/new", "", "ok", "", false},
		{"exec\t/opt/new", "", "EACCES", "IMA-signature-required", false},
		{"sh\timasign-build rootfs sign --progress=none --key /etc/device/x509_ima.key --cert /etc/device/x509_ima.crt /opt", "", "ok", "", false},
		{"exec\t/opt/new", "", "ok", "", false},
		{"exec\t/opt/packaged/program", "", "ok", "", false},
		{"sh\t" + update, "", "ok", "", false},
		{"sh\tgrep -q updated /opt/packaged/program", "", "ok", "", false},
		{"exec\t/opt/packaged/program", "", "ok", "", false},
	})
	plan(t, dir, steps, "")
	sign(t, dir, sample)
	spoil(t, dir)
	policy := defaultPolicy(t)
	text, err := os.ReadFile(policy)
	check(t, err)
	write(t, policy, string(text)+"audit func=KEXEC_KERNEL_CHECK\n")
	certificates := trusted(t, onDevice...)
	c := machine{
		kernel: k, disk: image(t, "ext4", dir), line: "root=/dev/vda rootfstype=ext4 rw",
		initramfs: bundle(t, t.TempDir(), append(flags("--cert", certificates), "--policy", policy)...),
	}.boot(t)
	c.compare(t, steps, after)
	c.predicted(t, k, policy, dir, "ext4", steps, certificates...)
}

// addRPM adds this machine's rpm with its IMA plugin to a tree, an installed package, and
// an update of it. It returns the command that installs the update.
func addRPM(t *testing.T, dir string) string {
	t.Helper()
	plugin := packages.PluginDir(t) + "/ima.so"
	libraries(t, harness.Tool(t, "rpm"), dir)
	libraries(t, plugin, dir)
	check(t, os.MkdirAll(filepath.Join(dir, "usr/lib/rpm"), 0o755))
	harness.Must(t, "cp", "-a", "/usr/lib/rpm/rpmrc", "/usr/lib/rpm/macros", "/usr/lib/rpm/platform", filepath.Join(dir, "usr/lib/rpm"))
	content := t.TempDir()
	copyTo(t, filepath.Join(dir, "usr/bin/signed"), filepath.Join(content, "opt/packaged/program"))
	packages.Install(t, dir, signedPackage(t, content, "1"), "--dbpath", "/var/lib/rpm")
	f, err := os.OpenFile(filepath.Join(content, "opt/packaged/program"), os.O_WRONLY|os.O_APPEND, 0)
	check(t, err)
	_, err = f.WriteString("updated\n")
	check(t, err)
	check(t, f.Close())
	copyTo(t, signedPackage(t, content, "2"), filepath.Join(dir, "root/update.rpm"))
	return "/usr/bin/rpm -U --nodeps --nosignature --dbpath /var/lib/rpm --define '__plugindir " + filepath.Dir(plugin) + "' /root/update.rpm"
}

// TestCertificates checks which certificates the hook loads into which keyring, and which
// ones the kernel refuses. Two files are signed in the image.
func TestCertificates(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir := newTree(t, k)
	// The hook loads this one from the root file system, but it is revoked.
	copyTo(t, keys(t)["revoked"].file("der"), filepath.Join(dir, "etc/keys/x509_ima_revoked.der"))
	copyTo(t, keys(t)["rogue"].file("der"), filepath.Join(dir, "etc/certificates/rogue.der"))
	harness.Must(t, harness.Tool(t, "openssl"), "x509", "-outform", "DER", "-in", filepath.Join(k.dir, "rsa2048/system_trusted_key.crt"),
		"-out", filepath.Join(dir, "etc/certificates/ca.der"))
	secondary := filepath.Join(string(keys(t)["rsa2048"]), "x509_secondary.crt")
	steps := []step{
		// One more than the hook loads: with CONFIG_IMA_APPRAISE_MODSIG, the key of the modules.
		{"keyring\t.ima", "", "4", "", false},
		{"keyring\t.ima_blacklist", "", "1", "", false},
		{"key\t.ima\t/etc/certificates/rogue.der", "", "ENOKEY", "", false},
		{"key\t.ima\t/etc/certificates/ca.der", "", "ENOKEY", "", false},
		{"key\t.ima_blacklist\t/etc/certificates/rogue.der", "", "ENOKEY", "", false},
		{"key\t.secondary_trusted_keys\t/etc/certificates/rogue.der", "", "ENOKEY", "", false},
		runs("exec\t/usr/bin/signed"),
		runs("exec\t/usr/bin/secondary"),
		refused("exec\t/usr/bin/revoked", "invalid-signature"),
		refused("exec\t/usr/bin/otherkey", "invalid-signature"),
	}
	plan(t, dir, steps, "")
	sign(t, dir, keys(t)["rsa2048"])
	spoil(t, dir)
	certificates := trusted(t, "rsa2048", "secondary")
	c := machine{
		kernel: k, disk: signedImage(t, dir, keys(t)["rsa2048"], "/usr/bin/signed", "/sbin/switch_root"), line: "root=/dev/vda",
		initramfs: bundle(t, t.TempDir(), append(flags("--cert", certificates), "--secondary", secondary, "--revoked", keys(t)["revoked"].file("crt"))...),
	}.boot(t)
	c.compare(t, steps, after)
	c.predicted(t, k, defaultPolicy(t), dir, "ext4", steps, certificates...)
}

// TestHookStops boots a root file system whose switch_root the kernel refuses.
func TestHookStops(t *testing.T) {
	harness.Root(t)
	k := built(t)
	dir := newTree(t, k)
	sign(t, dir, keys(t)["rsa2048"], "--exclude", "/sbin/switch_root")
	said, _ := machine{
		kernel: k, disk: image(t, "ext4", dir), line: "root=/dev/vda",
		initramfs: bundle(t, t.TempDir(), flags("--cert", trusted(t, "rsa2048"))...),
	}.run(t)
	for _, want := range []string{
		"imasign: the kernel refused /sbin/switch_root of the root file system: is it signed", "IS LOADED, and nothing unsigned can be executed",
		`cause=IMA-signature-required comm="init" name="/sysroot/sbin/switch_root"`, "Kernel panic",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("not said: %s\n%s", want, tail(said, 40))
		}
	}
}

// TestDebian boots a distribution's kernel. It has no trusted .ima keyring and no ECDSA,
// and its appraisal can be switched off.
func TestDebian(t *testing.T) {
	harness.Root(t)
	k := debian(t)
	policy := defaultPolicy(t)
	for name, line := range map[string]string{"enforced": "", "off": " ima_appraise=off"} {
		t.Run(name, func(t *testing.T) {
			dir := newTree(t, k)
			copyTo(t, policy, filepath.Join(dir, "etc/policy"))
			steps := slices.Concat(files(k), device(k))
			load := ""
			if line == "" {
				steps = append(steps, changeSteps()...)
			} else {
				// The kernel records the same causes, but refuses nothing.
				for i := range steps {
					steps[i].after = "ok"
				}
				load = "/etc/policy"
			}
			plan(t, dir, steps, load)
			sign(t, dir, keys(t)["rsa2048"])
			spoil(t, dir)
			certificates := trusted(t, onDevice...)
			c := machine{
				kernel: k, disk: image(t, "ext4", dir), line: "root=/dev/vda rw" + line,
				initramfs: bundle(t, drivers(t, k), append(flags("--cert", certificates), "--allow-off", "--kernel", k.release)...),
			}.boot(t)
			if line != "" {
				c.compare(t, steps, before, after)
				return
			}
			c.compare(t, steps, after)
			c.predicted(t, k, policy, dir, "ext4", steps, certificates...)
		})
	}
}

// drivers returns an archive of the modules that Debian's kernel needs for the disk and
// for SHA-512.
func drivers(t *testing.T, k kernel) string {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	for _, name := range []string{"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "sha512_generic"} {
		copyTo(t, filepath.Join(k.dir, "modules", name+".ko"), filepath.Join(dir, "modules", name+".ko"))
		list.WriteString("/modules/" + name + ".ko\n")
	}
	write(t, filepath.Join(dir, "etc/modules"), list.String())
	return dir
}
