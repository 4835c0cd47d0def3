package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
)

// hung is how long a test waits for a program that should end by itself.
const hung = time.Minute

// desk makes files of every kind that commands read, with the names that the cases below
// use.
func desk(t *testing.T) string {
	t.Helper()
	dir, keys := t.TempDir(), harness.Keys(t, "p256")
	check(t, os.Rename(keys, filepath.Join(dir, "keys")))
	check(t, os.Mkdir(filepath.Join(dir, "tree"), 0o755))
	for name, text := range map[string]string{"tree/file": "content", "policy": "measure func=BPRM_CHECK fowner=0\n", "config": "CONFIG_IMA=y\n", "passphrase": "open sesame\n"} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	copyFile(t, harness.Tool(t, "busybox"), filepath.Join(dir, "busybox"))
	harness.Must(t, "tar", "-C", dir, "-cf", filepath.Join(dir, "archive"), "tree")
	harness.Must(t, harness.Tool(t, "openssl"), "pkcs8", "-topk8", "-in", filepath.Join(dir, "keys/x509_ima.key"), "-passout", "file:"+filepath.Join(dir, "passphrase"), "-out", filepath.Join(dir, "locked"))
	manifest := harness.Must(t, harness.Program(t), "rootfs", "sign", "--progress=none", "--dry-run", "--manifest", "-", filepath.Join(dir, "tree"))
	check(t, os.WriteFile(filepath.Join(dir, "manifest"), []byte(manifest), 0o600))
	return dir
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	check(t, err)
	check(t, os.WriteFile(to, data, 0o600))
}

const (
	signer = "--progress=none --key keys/x509_ima.key --cert keys/x509_ima.crt "
	trust  = "--progress=none --cert keys/x509_ima.crt "
)

// named are commands, each with a file that the user names. An @ marks the file.
var named = []string{
	"rootfs sign --key @keys/x509_ima.key --cert keys/x509_ima.crt tree",
	"rootfs sign --key keys/x509_ima.key --cert @keys/x509_ima.crt tree",
	"rootfs sign --key locked --cert keys/x509_ima.crt --key-pass file:@passphrase tree",
	"rootfs verify --cert @keys/x509_ima.crt tree",
	"rootfs verify --cert keys/x509_ima.crt --manifest @manifest tree",
	"tar sign " + signer + "-o out.tar @archive",
	"tar strip -o out.tar @archive",
	"tar verify " + trust + "@archive",
	"manifest sign " + signer + "-o out @manifest",
	"manifest apply " + trust + "@manifest tree",
	"manifest diff @manifest manifest",
	"manifest diff manifest @manifest",
	"key show @keys/x509_ima.crt",
	"key check @keys/x509_ima.crt",
	"key check --ca @keys/system_trusted_key.crt keys/x509_ima.crt",
	"policy check @policy",
	"policy check --kernel-config @config policy",
	"policy simulate --rootfs tree " + trust + "@policy",
	"initramfs bundle -o out.cpio --busybox busybox --cert @keys/x509_ima.crt",
	"initramfs bundle -o out.cpio --busybox busybox --ca @keys/system_trusted_key.crt --cert keys/x509_ima.crt",
	"initramfs bundle -o out.cpio --busybox busybox --policy @policy --cert keys/x509_ima.crt",
	"initramfs bundle -o out.cpio --busybox @busybox --cert keys/x509_ima.crt",
	"initramfs bundle -o out.cpio --busybox busybox --kernel-config @config --cert keys/x509_ima.crt",
	"rootfs scan @policy",
	"tar sign --oci " + signer + "-o new @archive",
}

// TestNamedInputsArePipes checks that a pipe can stand for each of these files.
func TestNamedInputsArePipes(t *testing.T) {
	harness.Root(t)
	dir := desk(t)
	for _, command := range named {
		before, after, _ := strings.Cut(command, "@")
		file, rest, _ := strings.Cut(after, " ")
		run := func(input string) harness.Result {
			cmd := exec.Command("bash", "-c", harness.Program(t)+" "+before+input+" "+rest)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1")
			return harness.RunCommand(t, cmd)
		}
		want := run(file)
		check(t, os.RemoveAll(filepath.Join(dir, "out")))
		for _, input := range []string{"<(cat " + file + ")", "/dev/stdin < <(cat " + file + ")"} {
			if strings.Contains(command, "file:@") && strings.HasPrefix(input, "<(") {
				input = "/dev/fd/9 9< <(cat " + file + ")"
			}
			got := run(input)
			if got.Code != want.Code {
				t.Errorf("%s with %s: exit %d, not %d: %s", command, input, got.Code, want.Code, got.Err)
			}
		}
	}
}

// TestWaitingForANamedInput checks that a signal ends the program while it waits for a
// FIFO that another process has open but never writes to.
func TestWaitingForANamedInput(t *testing.T) {
	harness.Root(t)
	dir := desk(t)
	for i, command := range named {
		t.Run(command, func(t *testing.T) {
			before, after, _ := strings.Cut(command, "@")
			_, rest, _ := strings.Cut(after, " ")
			fifo := filepath.Join(dir, fmt.Sprint("fifo", i))
			check(t, syscall.Mkfifo(fifo, 0o600))
			r := start(t, func(cmd *exec.Cmd) { cmd.Dir = dir }, strings.Fields(before+fifo+" "+rest)...)
			var w *os.File
			if !r.until(func() bool {
				var err error
				w, err = os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
				return err == nil // ENXIO until the program reads
			}) {
				t.Fatalf("did not open it: %s%s", &r.out, &r.err)
			}
			defer w.Close()
			r.signal(t, syscall.SIGTERM)
			r.end(t, 1)
			demand(t, r.err.String(), "interrupted")
		})
	}
}

// TestFIFOInAContainer checks that the program never waits for a FIFO in a tree or a
// repository.
func TestFIFOInAContainer(t *testing.T) {
	harness.Root(t)
	dir := desk(t)
	for _, fifo := range []string{"tree/fifo", "tree/module.ko", "metadata/repodata/repomd.xml", "package.rpm", "keys/fifo", "packages/in.rpm", "layout/index.json"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, fifo)), 0o755))
		check(t, syscall.Mkfifo(filepath.Join(dir, fifo), 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "layout/oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600))
	for command, code := range map[string]int{
		"rootfs sign " + signer + "tree":                       0,
		"rootfs verify " + trust + "tree":                      0,
		"rootfs sign " + signer + "package.rpm":                1,
		"policy simulate --rootfs tree " + trust + "policy":    0,
		"tar create --sign " + signer + "-o out.tar tree":      0,
		"rpm sign " + signer + "package.rpm":                   1,
		"rpm verify " + trust + "package.rpm":                  1,
		"rpm show package.rpm":                                 1,
		"rpm digests package.rpm":                              1,
		"rpm strip package.rpm":                                1,
		"rpm sign " + signer + "packages":                      1,
		"rpm digests packages":                                 1,
		"tar verify --oci " + trust + "layout":                 1,
		"tar sign --oci " + signer + "-o out layout":           1,
		"repo sign " + signer + "-o new metadata":              1,
		"initramfs bundle -o keys/fifo --hook dracut " + trust: 1,
	} {
		if strings.HasPrefix(command, "rootfs verify") {
			continue // after all that signs
		}
		ends(t, dir, command, code)
	}
	for _, key := range []string{"pkcs11:object=x?module-path=", "tpm2:0x81000001?device="} {
		ends(t, dir, "rootfs sign --cert keys/x509_ima.crt --key "+key+dir+"/keys/fifo tree", 1)
	}
	ends(t, dir, "rootfs verify "+trust+"tree", 0)
}

func ends(t *testing.T, dir, command string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Program(t), strings.Fields(command)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Errorf("%s: hangs", command)
	case err != nil && !errors.As(err, &exit):
		t.Error(err)
	case cmd.ProcessState.ExitCode() != code:
		t.Errorf("%s: exit %d, not %d: %s", command, cmd.ProcessState.ExitCode(), code, out)
	}
}

// TestSecondSignalEnds checks that a second signal ends a program that cannot react to the
// first one, because nobody reads its output.
func TestSecondSignalEnds(t *testing.T) {
	harness.Root(t)
	keys := harness.Keys(t, "p256")
	tree, _ := manyFiles(t, 2_000)
	for name, c := range map[string]struct {
		args []string
		err  bool // nobody reads standard error either
	}{
		"before it is signed":       {[]string{"rootfs", "verify", "--progress=none", "--cert", filepath.Join(keys, "x509_ima.crt"), "--json", "-v", tree}, false},
		"after it is signed":        {signArgs(keys, tree, "--json", "-v"), false},
		"and standard error, later": {signArgs(keys, tree, "--json", "-v", "--force"), true},
	} {
		t.Run(name, func(t *testing.T) {
			reader, writer, err := os.Pipe()
			check(t, err)
			defer reader.Close()
			r := start(t, func(cmd *exec.Cmd) {
				cmd.Stdout = writer
				if c.err {
					cmd.Stderr = writer
				}
			}, c.args...)
			defer writer.Close()
			full := func() bool {
				poll := []unix.PollFd{{Fd: int32(writer.Fd()), Events: unix.POLLOUT}}
				n, err := unix.Poll(poll, 0)
				return err == nil && n == 0
			}
			if !r.until(full) {
				t.Fatalf("the pipe is not full: %s", &r.err)
			}
			r.signal(t, syscall.SIGTERM)
			r.signal(t, syscall.SIGHUP) // a second SIGTERM could be merged with the first
			select {
			case <-r.ended:
			case <-time.After(hung):
				t.Fatal("two signals did not end it")
			}
			if code := r.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit %d", code)
			}
		})
	}
}
