package kernel

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// device3 is a device whose files have version 3 signatures only.
type device3 struct {
	algorithm, ca string
	kind          string // of image
	evm           bool
}

// devices3 returns the devices of TestSignedVersion3.
func devices3() []device3 {
	devices := []device3{{"mldsa65", "mldsa65", "large", true}}
	if harness.Nightly() {
		devices = append(devices,
			device3{"mldsa44", "rsa2048", "large", false}, device3{"mldsa87", "p384", "large", true}, device3{"rsa2048", "mldsa65", "ext4", true},
			device3{"p256", "rsa2048", "squashfs", false}, device3{"mldsa87", "mldsa65", "erofs", true},
		)
	}
	return devices
}

// keys makes the keys of the device for IMA and EVM.
func (d device3) keys(t *testing.T) keySet {
	t.Helper()
	dir, ca := filepath.Join(t.TempDir(), "keys"), filepath.Join(newer(t).dir, d.ca, "system_trusted_key")
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", d.algorithm, "--for", "v3", "--with", "evm", "--subject", "/CN="+d.algorithm,
		"--ca-key", ca+".key", "--ca", ca+".crt", dir)
	return keySet(dir)
}

// causes3 are the causes of refusals, with EVM and without it.
func (d device3) causes() map[string]string {
	if !d.evm {
		return map[string]string{
			"unsigned": notSigned, "hashonly": notSigned, "tampered": badSignature, "otherkey": badSignature, "sigbit": badSignature, "v2": notV3,
		}
	}
	return map[string]string{
		"unsigned": notSigned, "hashonly": badEVM, "tampered": badSignature, "otherkey": badEVM, "sigbit": badEVM, "v2": badEVM,
	}
}

// steps returns the steps that try each variant of each kind of file.
func (d device3) steps(k kernel) (steps []step) {
	causes := d.causes()
	add := func(v, do string) {
		if causes[v] == "" {
			steps = append(steps, runs(do))
		} else {
			steps = append(steps, refused(do, causes[v]))
		}
	}
	for _, v := range variants {
		add(v, "exec\t/usr/bin/"+v)
		add(v, "exec\t/usr/bin/"+v+".sh")
		add(v, "mmap\t/usr/lib/"+v+".so")
		add(v, "module\t/lib/modules/test/"+v+"/"+filepath.Base(k.module))
	}
	add("v2", "exec\t/usr/bin/p256-sha256")
	steps = append(steps, step{"module\t/lib/modules/test/signed/test_firmware.ko\tstay", "", "ok", "", false})
	for _, v := range variants {
		add(v, "firmware\t"+v+".bin")
	}
	return steps
}

// spoil changes a signed tree as the variants demand.
func (d device3) spoil(t *testing.T, dir string, set keySet) {
	t.Helper()
	rogue := harness.Keys(t, "p256")
	harness.Must(t, harness.Program(t), "rootfs", "sign", "--progress=none", "--force", "--signature", "v3", "--key-for", "v3",
		"--key", rogue, "--include", "*otherkey*", dir)
	v2 := keys(t)["p256"]
	harness.Must(t, harness.Program(t), "rootfs", "sign", "--progress=none", "--force", "--key", string(v2), "--include", "/usr/bin/p256-sha256", dir)
	for _, file := range harness.Files(t, dir) {
		switch variantOf(file) {
		case "unsigned":
			check(t, unix.Removexattr(file, "security.ima"))
		case "hashonly":
			harness.Must(t, harness.Tool(t, "evmctl"), "ima_hash", "-a", "sha256", file)
		case "tampered":
			appendTo(t, file)
		case "sigbit":
			value := make([]byte, 8192)
			n, err := unix.Getxattr(file, "security.ima", value)
			check(t, err)
			value[n-1] ^= 1
			set := bytes.Clone(value[:n])
			check(t, unix.Setxattr(file, "security.ima", set, 0))
		}
	}
}

// TestSignedVersion3 boots Linux 7.3 with trees that the program signed with version 3, under
// a policy that demands it. IMASIGN_NIGHTLY=1 adds algorithms and file systems.
func TestSignedVersion3(t *testing.T) {
	harness.Root(t)
	k := newer(t)
	for _, d := range devices3() {
		t.Run(d.algorithm+" "+d.kind, func(t *testing.T) {
			set, dir := d.keys(t), filepath.Join(roomy(t), "root")
			fillTree(t, k, dir)
			steps := d.steps(k)
			fs, line := d.kind, ""
			if d.kind == "large" || d.kind == "ext4" {
				fs, line = "ext4", " rw"
			}
			if d.kind == "large" {
				program(t, "program", filepath.Join(dir, "usr/bin/verity"))
				check(t, os.Chown(filepath.Join(dir, "usr/bin/verity"), verity, 0))
				steps = append(steps, step{"verity\t/usr/bin/verity\t1", "", "ok", "", false}, step{"exec\t/usr/bin/verity", "", "ok", "", false})
			}
			if d.evm {
				steps = append(steps, step{"sh\tgrep -qxE '10|11' /sys/kernel/security/evm", "", "ok", "", false})
			}
			plan(t, dir, steps, "")
			policy := policy3(t)
			args := []string{"rootfs", "sign", "--progress=none", "--key", string(set), "--verity", "/usr/bin/verity", dir}
			further := []string{}
			if d.evm {
				args = append(args, "--evm", "portable", "--evm-target", "64le")
				further = append(further, "--evm-cert", filepath.Join(string(set), "x509_evm.crt"), "--evm-v3")
			}
			harness.Must(t, harness.Program(t), args...)
			d.spoil(t, dir, set)
			c := machine{
				kernel: k, disk: image(t, d.kind, dir), line: "root=/dev/vda rootfstype=" + fs + line,
				initramfs: bundle(t, t.TempDir(), slices.Concat([]string{"--cert", set.file("crt"), "--policy", policy, "--kernel", k.release}, further)...),
			}.boot(t)
			if strings.Contains(c.said, "imasign: EVM is enabled") != d.evm {
				t.Error("the hook does not report the state of EVM")
			}
			c.compare(t, steps, after)
			c.predictedWith(t, k, policy, dir, fs, steps, further, set.file("crt"))
		})
	}
}

// policy3 writes the default policy with sigv3 instead of imasig, and with rules for files
// with fs-verity.
func policy3(t *testing.T) string {
	t.Helper()
	file := defaultPolicy(t)
	text, err := os.ReadFile(file)
	check(t, err)
	const rules = "appraise func=BPRM_CHECK fowner=6 digest_type=verity appraise_type=sigv3\n" +
		"appraise func=MMAP_CHECK mask=MAY_EXEC fowner=6 digest_type=verity appraise_type=sigv3\n"
	write(t, file, rules+strings.ReplaceAll(string(text), "appraise_type=imasig", "appraise_type=sigv3"))
	return file
}
