package packages

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

const (
	fileConfig = 1 << 0 // RPMFILE_CONFIG
	fileGhost  = 1 << 6 // RPMFILE_GHOST
)

// hung is the time after which a peer is killed, far longer than any needs.
const hung = 3 * time.Minute

// Entry is one file of a package as rpm reports it.
type Entry struct {
	Path      string
	Mode      uint32 // st_mode, with the file type
	Flags     uint32 // RPMFILE_*
	Digest    string // lower-case hex; "" if there is none
	Signature string // tag 274, lower-case hex; "" if there is none
}

// Regular reports whether the package has content for the entry.
func (e Entry) Regular() bool {
	return e.Mode&syscall.S_IFMT == syscall.S_IFREG && e.Flags&fileGhost == 0
}

// Appraised reports whether rpm's IMA plugin sets the signature at installation: on regular
// files, except configuration that cannot be executed.
func (e Entry) Appraised() bool {
	return e.Regular() && (e.Flags&fileConfig == 0 || e.Mode&0o111 != 0)
}

// Entries lists the files of the package at path in their order, with `rpm -qp`. The test fails
// if there are signatures, but not one for each file: rpm would print nothing for both, and
// exit with 0.
func Entries(t testing.TB, path string) []Entry {
	t.Helper()
	all := Files(t, path)
	signatures := Query(t, path, "[%{FILESIGNATURES}\\n]")
	if signatures == "" {
		return all
	}
	lines := strings.Split(strings.TrimSuffix(signatures, "\n"), "\n")
	if len(lines) != len(all) {
		t.Fatalf("%s: %d signatures for %d files", path, len(lines), len(all))
	}
	for i, line := range lines {
		all[i].Signature = line
	}
	return all
}

// Files is Entries without the signatures.
func Files(t testing.TB, path string) []Entry {
	t.Helper()
	var all []Entry
	for line := range strings.Lines(Query(t, path, "[%{FILENAMES}\\t%{FILEMODES}\\t%{FILEFLAGS}\\t%{FILEDIGESTS}\\n]")) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if f[0] == "(none)" {
			return nil
		}
		if len(f) != 4 {
			t.Fatalf("rpm -qp %s: %q", path, line)
		}
		// rpm prints modes over 32767 as negative numbers, because the tag is an int16.
		all = append(all, Entry{Path: f[0], Mode: number(t, f[1]) & 0xffff, Flags: number(t, f[2]), Digest: f[3]})
	}
	return all
}

func number(t testing.TB, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// Query runs `rpm -qp --qf format path` and returns its output.
func Query(t testing.TB, path, format string) string {
	t.Helper()
	cmd := exec.Command("rpm", "-qp", "--nosignature", "--qf", format, path)
	cmd.Env = plainEnv(os.TempDir())
	r := harness.RunCommand(t, cmd)
	if r.Code != 0 {
		t.Fatalf("rpm -qp --qf %q %s: exit %d\n%s%s", format, path, r.Code, r.Out, r.Err)
	}
	return r.Out
}

// Install installs the package at path below root with rpm and its IMA plugin, without
// scriptlets. Without the define, rpm finds no plugin and reports nothing.
func Install(t testing.TB, root, path string, flags ...string) {
	t.Helper()
	harness.Root(t)
	args := append([]string{"-i", "--root", root, "--nodeps", "--noscripts", "--notriggers", "--nosignature", "--define", "__plugindir " + PluginDir(t)}, flags...)
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rpm", append(args, path)...)
	cmd.Env = plainEnv(os.TempDir())
	if r := harness.RunCommand(t, cmd); r.Code != 0 {
		t.Fatalf("%s: exit %d\n%s%s", cmd, r.Code, r.Out, r.Err)
	}
}

// PluginDir returns the directory of rpm's plugins.
func PluginDir(t testing.TB) string {
	t.Helper()
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	dir := "/usr/lib/" + arch + "-linux-gnu/rpm-plugins"
	if _, err := os.Stat(filepath.Join(dir, "ima.so")); err != nil {
		t.Fatalf("rpm's IMA plugin is missing (%v); tests/deps.sh installs it with rpm-common", err)
	}
	return dir
}

// CheckInstalled checks the files below root that the package at path installed. Each must have
// the security.ima that rpm's plugin sets, equal to that in the package and valid by evmctl
// with the certificate (PEM or DER). Nothing else of the package may have one. It returns the
// paths that are right, relative to root, and an error that names all others.
func CheckInstalled(t testing.TB, root, path, cert string) ([]string, error) {
	t.Helper()
	var right []string
	var wrong []error
	key := derFile(t, cert)
	for _, e := range Entries(t, path) {
		file := filepath.Join(root, e.Path)
		value := SecurityIMA(t, file)
		var err error
		switch {
		case !e.Appraised() && value != "":
			err = fmt.Errorf("%s: rpm's plugin set security.ima %s", e.Path, value)
		case !e.Appraised():
			continue
		case value == "":
			err = fmt.Errorf("%s: no security.ima after installation", e.Path)
		case value != e.Signature:
			err = fmt.Errorf("%s: security.ima is %s, the package says %s", e.Path, value, e.Signature)
		default:
			err = evmctlVerify(t, file, key)
		}
		if wrong = append(wrong, err); err == nil {
			right = append(right, e.Path)
		}
	}
	return right, errors.Join(wrong...)
}

// InstallIMA runs Install and CheckInstalled, and fails the test on an error.
func InstallIMA(t testing.TB, root, path, cert string, flags ...string) []string {
	t.Helper()
	Install(t, root, path, flags...)
	verified, err := CheckInstalled(t, root, path, cert)
	if err != nil {
		t.Error(err)
	}
	return verified
}

// SecurityIMA returns the security.ima value of file in hex, or "" if there is none or no file.
// It does not follow a symbolic link.
func SecurityIMA(t testing.TB, file string) string {
	t.Helper()
	r := harness.Run(t, "getfattr", "--no-dereference", "--only-values", "--absolute-names", "-n", "security.ima", file)
	return hex.EncodeToString([]byte(r.Out))
}

func evmctlVerify(t testing.TB, file, key string) error {
	t.Helper()
	r := harness.Run(t, "evmctl", "ima_verify", "--key", key, file)
	// evmctl can fail and exit with 0.
	if r.Code != 0 || !strings.Contains(r.Out+r.Err, "verification is OK") {
		return fmt.Errorf("evmctl ima_verify %s: exit %d: %s%s", file, r.Code, r.Out, r.Err)
	}
	return nil
}

// derFile converts the certificate to DER, which evmctl reads.
func derFile(t testing.TB, cert string) string {
	t.Helper()
	content, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	if _, err := x509.ParseCertificate(content); err != nil {
		t.Fatalf("%s: %v", cert, err)
	}
	file := filepath.Join(t.TempDir(), "cert.der")
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
