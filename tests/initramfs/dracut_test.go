package initramfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// dracut runs the real dracut, which finds the bundle beside its own modules.
func dracut(t *testing.T, image string, bundle []string, flags ...string) harness.Result {
	t.Helper()
	harness.Root(t)
	dir := filepath.Join(t.TempDir(), "bundle")
	harness.Must(t, harness.Program(t), append([]string{"initramfs", "bundle", "-o", dir, "--hook", "dracut", "--cert", sharedPath(t, "keys/x509_ima.crt")}, bundle...)...)
	own := filepath.Join(t.TempDir(), "dracut")
	harness.Must(t, "cp", "-a", "/usr/lib/dracut", own)
	harness.Must(t, "cp", "-a", filepath.Join(dir, "usr/lib/dracut/modules.d/98imasign"), filepath.Join(own, "modules.d"))
	args := []string{"-m", "sh", "-euc", `mount --bind "$1" /usr/lib/dracut; shift
		[ -z "${WITHOUT-}" ] || mount --bind /dev/null "$WITHOUT"; exec dracut "$@"`, "-", own}
	args = append(args, "--no-kernel", "--no-hostonly", "--no-early-microcode", "--no-compress", "--force")
	return harness.Run(t, harness.Tool(t, "unshare"), append(append(args, flags...), image, "6.12.0")...)
}

// TestDracut makes an initramfs with dracut and the module, and runs its hook with
// dracut's own functions.
func TestDracut(t *testing.T) {
	harness.Tool(t, "dracut")
	image := filepath.Join(t.TempDir(), "image")
	if r := dracut(t, image, nil, "--modules", "bash base fs-lib rootfs-block imasign"); r.Code != 0 {
		t.Fatalf("exit %d:\n%s%s", r.Code, r.Out, r.Err)
	}
	d := &device{t: t, dir: filepath.Join(t.TempDir(), "initramfs")}
	d.mkdir(".")
	harness.Must(t, "sh", "-euc", `cd "$1" && cpio -idm --quiet --no-absolute-filenames <"$2"`, "-", d.dir, image)
	want, err := os.ReadFile(sharedPath(t, "keys/x509_ima.der"))
	if got, err2 := os.ReadFile(d.path("etc/keys/x509_ima.der")); err != nil || err2 != nil || string(got) != string(want) {
		t.Errorf("the certificate is not in it (%v, %v)", err, err2)
	}
	d.remove("usr/sbin/mount")
	d.surround()
	d.copy("testdata/mount.sh", "usr/sbin/mount")
	d.write("fake/proc/cmdline", "root=/dev/vda init=/sbin/init console=ttyS0 systemd.unit=x 3\n")
	d.write("usr/sbin/udevadm", "#!/fake/busybox sh\necho \"udevadm $*\" >>/fake/log\n")
	d.write("usr/lib/dracut/hooks/cleanup/50-x.sh", "echo cleanup >>/fake/log\n")
	d.remove("init")
	d.write("init", `#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev; mount -t tmpfs tmpfs /run
NEWROOT=/sysroot
. /lib/dracut-lib.sh
mount -o ro /dev/vda $NEWROOT
source_hook pre-pivot
echo "the hook came back"
`)
	b := d.boot()
	b.switched(t, "SWITCHED in /sysroot: /sysroot /sbin/init systemd.unit=x 3")
	if b.policy != rules(defaultPolicy(t)) {
		t.Errorf("written:\n%s", b.policy)
	}
	if want := "cleanup\nudevadm control --exit\nudevadm info --cleanup-db\nmount --move /dev /sysroot/dev\n"; !strings.Contains(b.log, want) {
		t.Errorf("not %s in\n%s", want, b.log)
	}
	d = newDevice(t, "dash", "standalone") // with another init, the hook of the dracut bundle
	bundle := filepath.Join(t.TempDir(), "bundle")
	harness.Must(t, harness.Program(t), "initramfs", "bundle", "-o", bundle, "--hook", "dracut", "--cert", sharedPath(t, "keys/x509_ima.crt"))
	d.copy(filepath.Join(bundle, "usr/lib/dracut/modules.d/98imasign/imasign.sh"), "hook")
	d.write("init", "#!/bin/sh\nNEWROOT=/sysroot DRACUT_SYSTEMD=1\n. /hook\n")
	d.boot().stopped(t, "systemd is the init of this initramfs", "the policy was not loaded")
}

// TestDracutWithSystemd checks that dracut fails and makes no image.
func TestDracutWithSystemd(t *testing.T) {
	harness.Tool(t, "systemctl")
	image := filepath.Join(t.TempDir(), "image")
	r := dracut(t, image, nil, "--modules", "base systemd systemd-initrd imasign")
	if r.Code == 0 || !strings.Contains(r.Err, "imasign: an initramfs whose init is systemd cannot load the IMA policy: add --omit") {
		t.Errorf("exit %d:\n%s", r.Code, r.Err)
	}
	if _, err := os.Stat(image); err == nil {
		t.Error("an image is there")
	}
}

// TestDracutBringsWhatTheHookNeeds checks that the image contains keyctl if there are
// further certificates, and the module that loads the security labels if the policy names
// labels. Without them dracut must fail.
func TestDracutBringsWhatTheHookNeeds(t *testing.T) {
	harness.Tool(t, "keyctl")
	policy := filepath.Join(t.TempDir(), "policy")
	rules := "# obj_type=x\ndont_measure obj_type=var_log_t\nmeasure func=BPRM_CHECK uid=0\n"
	if err := os.WriteFile(policy, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--policy", policy, "--labels-known", "--secondary", sharedPath(t, "keys/x509_secondary.crt")}
	image := filepath.Join(t.TempDir(), "image")
	r := dracut(t, image, flags, "--modules", "bash base imasign")
	if r.Code == 0 || !strings.Contains(r.Err, "imasign: the IMA policy has labels") {
		t.Errorf("exit %d:\n%s", r.Code, r.Err)
	}
	if _, err := os.Stat(image); err == nil {
		t.Error("an image is there")
	}
	if r = dracut(t, image, flags, "--modules", "bash base selinux imasign"); r.Code != 0 {
		t.Fatalf("exit %d:\n%s", r.Code, r.Err)
	}
	if listed := harness.Must(t, "cpio", "-t", "--quiet", "-F", image); !strings.Contains(listed, "bin/keyctl\n") {
		t.Errorf("no keyctl in\n%s", listed)
	}
	// A machine without keyutils has no keyctl.
	t.Setenv("WITHOUT", harness.Tool(t, "keyctl"))
	r = dracut(t, filepath.Join(t.TempDir(), "other"), flags[3:], "--modules", "bash base imasign")
	if r.Code == 0 || !strings.Contains(r.Err, "install keyutils") {
		t.Errorf("exit %d:\n%s", r.Code, r.Err)
	}
}

// TestHooksAreClean checks the installed hooks with shellcheck.
func TestHooksAreClean(t *testing.T) {
	shellcheck := harness.Tool(t, "shellcheck")
	for hook, files := range map[string][]string{
		"standalone": {"init"}, "initramfs-framework": {"init.d/95-imasign"},
		"dracut": {"usr/lib/dracut/modules.d/98imasign/imasign.sh", "usr/lib/dracut/modules.d/98imasign/module-setup.sh"},
	} {
		dir := filepath.Join(t.TempDir(), "bundle")
		args := []string{"initramfs", "bundle", "-o", dir, "--hook", hook, "--cert", sharedPath(t, "keys/x509_ima.crt")}
		if hook == "standalone" {
			args = append(args, "--shell-elsewhere")
		}
		harness.Must(t, harness.Program(t), args...)
		for _, file := range files {
			// SC2154: dracut and initramfs-framework set variables for their hooks.
			if r := harness.RunCommand(t, exec.Command(shellcheck, "-e", "SC2154", filepath.Join(dir, file))); r.Code != 0 {
				t.Errorf("%s: %s", file, r.Out)
			}
		}
	}
}
