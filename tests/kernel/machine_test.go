package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	versions "github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/tests/harness"
)

// hung is how long a machine may run. A boot takes some seconds.
const hung = 5 * time.Minute

// kernel is a kernel that build.sh has built.
type kernel struct {
	dir     string
	image   string
	module  string // a module that nothing needs
	release string // the version that policy check is given
}

func (k kernel) config() string { return filepath.Join(k.dir, "config") }

// judged returns the kernel as a target of policy check.
func (k kernel) judged(t *testing.T) policy.Target {
	t.Helper()
	version, err := versions.ParseVersion(k.release)
	check(t, err)
	f, err := os.Open(k.config())
	check(t, err)
	defer f.Close()
	config, err := versions.ReadConfig(f)
	check(t, err)
	return policy.Target{Profile: versions.Profile{Version: version, Config: config}}
}

var kernels = sync.OnceValues(func() ([]string, error) {
	out, err := exec.Command("./build.sh", "where").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s", exit.Stderr)
	}
	return strings.Fields(string(out)), err
})

// built returns Linux 6.12 with the layer's configuration.
func built(t *testing.T) kernel {
	t.Helper()
	dirs, err := kernels()
	check(t, err)
	return kernel{dirs[0], filepath.Join(dirs[0], "bzImage"), filepath.Join(dirs[0], "test_firmware.ko"), "6.12"}
}

// newer returns Linux 7.3 with the layer's configuration and ML-DSA. If Debian no longer has
// its sources, it is a later one, whose directory tells its version.
func newer(t *testing.T) kernel {
	t.Helper()
	dirs, err := kernels()
	check(t, err)
	release := dirs[1][strings.LastIndexByte(dirs[1], '-')+1:]
	return kernel{dirs[1], filepath.Join(dirs[1], "bzImage"), filepath.Join(dirs[1], "test_firmware.ko"), release}
}

// debian returns Debian's unmodified 6.1.
func debian(t *testing.T) kernel {
	t.Helper()
	dirs, err := kernels()
	check(t, err)
	return kernel{dirs[2], filepath.Join(dirs[2], "vmlinuz"), filepath.Join(dirs[2], "modules/crc-itu-t.ko"), "6.1"}
}

// machine is a virtual machine to boot.
type machine struct {
	kernel    kernel
	initramfs string // a file
	disk      string // a writable image; "" for none
	line      string // further words of the kernel's command line
}

// boot runs a machine to its end and returns its output. It fails the test with the last
// lines of that output unless the guest's report ends with DONE.
func (m machine) boot(t *testing.T) *console {
	t.Helper()
	said, report := m.run(t)
	c := parse(said, report)
	if !c.done {
		t.Fatalf("the machine did not come to its end:\n%s\n%s", tail(report, 20), tail(said, 60))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the console:\n%s", tail(said, 150))
		}
	})
	return c
}

// run returns the output of the kernel and the initramfs, and the report of the guest.
func (m machine) run(t *testing.T) (said, report string) {
	t.Helper()
	reports := filepath.Join(t.TempDir(), "report")
	args := []string{
		"-accel", "tcg", "-machine", "pc", "-cpu", "max", "-m", "512", "-no-reboot", "-net", "none",
		"-display", "none", "-monitor", "none", "-serial", "stdio", "-serial", "file:" + reports,
		"-kernel", m.kernel.image, "-initrd", m.initramfs,
		"-append", "console=ttyS0 panic=-1 loglevel=6 " + m.line,
	}
	if m.disk != "" {
		args = append(args, "-drive", "file="+m.disk+",format=raw,if=virtio,cache=unsafe")
	}
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.Tool(t, "qemu-system-x86_64"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	said = strings.ReplaceAll(out.String(), "\r", "")
	if err != nil {
		t.Fatalf("qemu: %v\n%s", err, tail(said, 60))
	}
	t.Logf("booted and ended in %.1f s", time.Since(start).Seconds())
	b, err := os.ReadFile(reports)
	check(t, err)
	return said, strings.ReplaceAll(string(b), "\r", "")
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// console is the output of a machine: that of the kernel and the initramfs on the console,
// and the report of the guest.
type console struct {
	said     string
	results  map[string][]string // results of the steps of each phase, in their order
	verdicts []string
	refusals []refusal
	done     bool
}

// refusal is a kernel record of a refused file.
type refusal struct{ cause, path string }

// record matches the output of integrity_audit_message.
var record = regexp.MustCompile(`op=appraise_data cause=(\S+) .*?name="([^"]*)"`)

func parse(said, report string) *console {
	c := &console{said: said, results: map[string][]string{}}
	for _, m := range record.FindAllStringSubmatch(said, -1) {
		c.refusals = append(c.refusals, refusal{m[1], m[2]})
	}
	for line := range strings.Lines(report) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Split(line, "\t")
		switch {
		case words[0] == "RESULT":
			c.results[words[1]] = append(c.results[words[1]], words[len(words)-1])
		case words[0] == "VERDICT":
			c.verdicts = append(c.verdicts, words[2])
		case line == "DONE":
			c.done = true
		}
	}
	return c
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
