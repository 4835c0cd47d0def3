package evmctl

// evmctl can fail and still exit with 0. Therefore the tests read back every xattr that
// it should have written, and each file that it accepts comes with a tampered copy that
// it must refuse. Some of its commands take no relative paths of keys.

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func newFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

func flipLast(value []byte) []byte {
	value = bytes.Clone(value)
	value[len(value)-1] ^= 1
	return value
}

func sum(id ima.HashID, s string) []byte {
	h, _ := id.CryptoHash()
	d := h.New()
	d.Write([]byte(s))
	return d.Sum(nil)
}

func dec[N uint16 | uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

// evmctl runs evmctl, fails the test unless it succeeds, and returns its output.
func evmctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, "evmctl", args...)
	if err != nil {
		t.Fatalf("evmctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func evmctlRefuses(t *testing.T, args ...string) {
	t.Helper()
	out, err := run(t, "evmctl", args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 || strings.Contains(out, "verification is OK") {
		t.Errorf("evmctl %s: accepted (%v)\n%s", strings.Join(args, " "), err, out)
	}
}

func openssl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := run(t, "openssl", args...); err != nil {
		t.Fatalf("openssl %s: %v\n%s", args[0], err, out)
	}
}

func run(t *testing.T, tool string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("%s is needed: %v", tool, err)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

func getxattr(t *testing.T, file, name string) []byte {
	t.Helper()
	b := make([]byte, 1<<16)
	n, err := syscall.Getxattr(file, name, b)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, file, err)
	}
	return b[:n]
}

func setxattr(t *testing.T, file, name string, value []byte) {
	t.Helper()
	if err := syscall.Setxattr(file, name, value, 0); err != nil {
		t.Fatalf("set %s of %s (needs root and a file system with security attributes): %v", name, file, err)
	}
}

func parsexattr(t *testing.T, file, name string) ima.Value {
	t.Helper()
	v, err := ima.Parse(getxattr(t, file, name))
	check(t, err)
	return v
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	check(t, err)
	return b
}

func pemBytes(t *testing.T, file string) []byte {
	t.Helper()
	block, _ := pem.Decode(read(t, file))
	if block == nil {
		t.Fatal(fmt.Errorf("%s: no PEM", file))
	}
	return block.Bytes
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
