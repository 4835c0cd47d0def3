package initramfs

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// shells are the programs that may be /bin/sh in an initramfs.
var shells = []string{"busybox", "dash", "bash"}

// device is an initramfs in a directory. Its /fake stands for the kernel's file systems.
type device struct {
	t     *testing.T
	dir   string
	state string // of EVM, as the kernel shows it
}

// keyrings is /proc/keys after a boot that loaded x509_ima.der.
const keyrings = `00a2c3b4 I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 1
0e3d1e3f I------     1 perm 1f0b0000     0     0 keyring   .ima: 1
1f1d1e3f I------     1 perm 1f0f0000     0     0 keyring   .ima_blacklist: empty
2f6d1e3f I------     1 perm 1f030000     0     0 asymmetri Device: 9a1f33d0: X509.rsa 33d0aa12 []
`

// newDevice makes a bundle, and a device with it that boots.
func newDevice(t *testing.T, shell, hook string, flags ...string) *device {
	t.Helper()
	harness.Root(t)
	d := &device{t: t, dir: filepath.Join(t.TempDir(), "initramfs")}
	args := append([]string{"initramfs", "bundle", "-o", d.dir, "--hook", hook, "--cert", sharedPath(t, "keys/x509_ima.crt")}, flags...)
	if hook == "standalone" {
		args = append(args, "--busybox", harness.Tool(t, "busybox"))
	}
	harness.Must(t, harness.Program(t), args...)
	d.surround()
	d.shell(shell)
	return d
}

// surround makes the kernel's files and the programs that stand for real ones.
func (d *device) surround() {
	d.t.Helper()
	for _, dir := range []string{"proc", "dev", "sys/kernel/security", "run", "rootfs/dev", "rootfs/proc", "rootfs/sys", "rootfs/run"} {
		d.mkdir("fake/" + dir)
	}
	for _, dir := range []string{"proc", "dev", "sys", "run", "sysroot"} {
		d.mkdir(dir)
	}
	d.copy("/bin/busybox", "fake/busybox")
	d.copy("testdata/mount.sh", "sbin/mount")
	d.copy("testdata/keyctl.sh", "usr/bin/keyctl")
	d.copy(sharedPath(d.t, "switch_root"), "fake/rootfs/sbin/switch_root.static")
	d.write("fake/rootfs/sbin/init", "init")
	d.write("fake/proc/keys", keyrings)
	d.write("fake/proc/cmdline", "quiet root=/dev/vda ro\n")
	d.mkdir("fake/securityfs/ima")
	d.node("fake/securityfs/ima/policy", syscall.S_IFIFO, 0)
	d.node("fake/dev/vda", syscall.S_IFBLK, 7<<8)
	d.node("fake/dev/null", syscall.S_IFCHR, 1<<8|3)
}

// shared is a directory for all tests. It contains a key set, in keys, and switch_root.
var shared = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "initramfs-*") })

var makeShared sync.Once

func sharedPath(t *testing.T, name string) string {
	t.Helper()
	dir, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	makeShared.Do(func() {
		harness.Must(t, harness.Program(t), "key", "init", "--with", "rpm,secondary,evm", filepath.Join(dir, "keys"))
		harness.Must(t, harness.Tool(t, "gcc"), "-static", "-o", filepath.Join(dir, "switch_root"), "testdata/switch_root.c")
	})
	return filepath.Join(dir, name)
}

func TestMain(m *testing.M) {
	harness.Main(m, func() error {
		dir, err := shared()
		if err != nil {
			return err
		}
		return os.RemoveAll(dir)
	})
}

func (d *device) check(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) path(name string) string { return filepath.Join(d.dir, name) }

func (d *device) mkdir(name string) {
	d.t.Helper()
	d.check(os.MkdirAll(d.path(name), 0o755))
}

// write writes a file that may be executed: the hook, a stand-in for a program, or a shell.
func (d *device) write(name, text string) {
	d.t.Helper()
	d.mkdir(filepath.Dir(name))
	harness.Executable(d.t, d.path(name), []byte(text))
}

func (d *device) copy(from, to string) {
	d.t.Helper()
	data, err := os.ReadFile(from)
	d.check(err)
	d.write(to, string(data))
}

func (d *device) remove(name string) {
	d.t.Helper()
	d.check(os.RemoveAll(d.path(name)))
}

func (d *device) node(name string, kind uint32, device int) {
	d.t.Helper()
	d.remove(name)
	d.check(syscall.Mknod(d.path(name), kind|0o666, device))
}

// shell installs /bin/sh and its libraries.
func (d *device) shell(name string) {
	d.t.Helper()
	d.mkdir("bin")
	d.remove("bin/sh")
	program := harness.Tool(d.t, name)
	d.copy(program, "bin/"+name)
	d.check(os.Symlink(name, d.path("bin/sh")))
	if name == "busybox" {
		return
	}
	for _, library := range regexp.MustCompile(`/\S+`).FindAllString(harness.Must(d.t, "ldd", program), -1) {
		d.copy(library, library[1:])
	}
}

// boot is the outcome of a boot.
type boot struct {
	harness.Result
	log, policy string
}

// boot runs /init in a mount namespace of its own.
func (d *device) boot(args ...string) boot {
	d.t.Helper()
	d.write("fake/log", "")
	policy := d.listen()
	cmd := exec.Command("unshare", append([]string{"-m", "chroot", d.dir, "/init"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	r := harness.RunCommand(d.t, cmd)
	log, err := os.ReadFile(d.path("fake/log"))
	d.check(err)
	return boot{r, string(log), policy()}
}

// listen reads what is written to ima/policy and evm of securityfs, if these are FIFOs. A
// write to evm becomes a line among the rules of the policy, which shows the order.
func (d *device) listen() (stop func() string) {
	d.t.Helper()
	name := d.path("fake/securityfs/ima/policy")
	if info, err := os.Stat(name); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return func() string { return "" }
	}
	fifo, err := os.OpenFile(name, os.O_RDWR, 0)
	d.check(err)
	var text strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(fifo); lines.Scan() && lines.Text() != "END"; {
			text.WriteString(lines.Text() + "\n")
		}
	}()
	closeEVM := d.answer(fifo)
	return func() string {
		closeEVM()
		_, err := fifo.WriteString("END\n")
		d.check(err)
		<-done
		d.check(fifo.Close())
		return text.String()
	}
}

// answer accepts one write to evm of securityfs, if that is a FIFO, records it in log, and
// then lets the state be read.
func (d *device) answer(log *os.File) (stop func()) {
	d.t.Helper()
	name := d.path("fake/securityfs/evm")
	if info, err := os.Stat(name); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return func() {}
	}
	done := make(chan error, 1)
	go func() {
		written, err := os.ReadFile(name)
		if err != nil || len(written) == 0 {
			done <- err
			return
		}
		_, err = log.WriteString("EVM " + string(written) + "\n")
		done <- errors.Join(err, os.WriteFile(name, []byte(d.state), 0))
	}()
	return func() {
		// The hook has ended, perhaps without opening the FIFO, and the goroutine may only be
		// about to open it.
		for {
			other, err := os.OpenFile(name, os.O_RDWR, 0)
			d.check(err)
			d.check(other.Close())
			select {
			case err := <-done:
				d.check(err)
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// everyShell runs a test with each shell.
func everyShell(t *testing.T, test func(t *testing.T, shell string)) { inShells(t, shells, test) }

func inShells(t *testing.T, shells []string, test func(t *testing.T, shell string)) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			test(t, shell)
		})
	}
}

// stopped fails the test unless the boot ended with this message, which also states in
// what state the device is.
func (b boot) stopped(t *testing.T, message, state string) {
	t.Helper()
	want := regexp.MustCompile(`(?m)^imasign: .*` + message + `.*\nimasign: stopped: .*` + state)
	if b.Code != 1 || !want.MatchString(b.Err) || strings.Contains(b.Out, "SWITCHED") {
		t.Errorf("exit %d, want 1 and %q, %q:\n%s%s\n%s", b.Code, message, state, b.Out, b.Err, b.log)
	}
}

// switched fails the test unless the boot called switch_root with these arguments.
func (b boot) switched(t *testing.T, args string) {
	t.Helper()
	if b.Code != 0 || !strings.Contains(b.Out, args+"\n") {
		t.Errorf("exit %d, not SWITCHED %s:\n%s%s\n%s", b.Code, args, b.Out, b.Err, b.log)
	}
}
