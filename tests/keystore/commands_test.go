package keystore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) { harness.Main(m, packages.Remove) }

// program runs imasign-build. It checks the exit code, and that the output contains no secret.
func program(t *testing.T, code int, args ...string) harness.Result {
	t.Helper()
	r := harness.Run(t, harness.Program(t), append(args, "--progress=none")...)
	if r.Code != code {
		t.Fatalf("imasign-build %s: exit %d, not %d\n%s%s", strings.Join(args, " "), r.Code, code, r.Out, r.Err)
	}
	noSecret(t, "output", []byte(r.Out+r.Err))
	return r
}

func noSecret(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, secret := range []string{pin, auth} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("a secret is in the %s:\n%s", where, data)
		}
	}
}

// initIn makes keys and returns the URI and key id of the last one.
func initIn(t *testing.T, dir string, args ...string) (uri, keyID string) {
	t.Helper()
	r := program(t, 0, append([]string{"key", "init", "--json", dir}, args...)...)
	var report struct {
		Keys []struct {
			Name, URI string
			KeyID     string `json:"key_id"`
			Files     []string
		}
	}
	check(t, json.Unmarshal([]byte(r.Out), &report))
	last := report.Keys[len(report.Keys)-1]
	if last.URI == "" {
		last.URI = filepath.Join(dir, last.Name+".key")
	}
	return last.URI, last.KeyID
}

// tree makes a directory with a few programs.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	check(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	harness.Must(t, "cp", "/usr/bin/env", "/usr/bin/true", "/usr/bin/id", filepath.Join(dir, "bin"))
	check(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644))
	return dir
}

func evmctlVerifies(t *testing.T, cert, dir string) {
	t.Helper()
	for _, file := range harness.Files(t, dir) {
		r := harness.Run(t, harness.Tool(t, "evmctl"), "ima_verify", "--key", cert, file)
		if r.Code != 0 || !strings.Contains(r.Out+r.Err, "verification is OK") {
			t.Errorf("evmctl ima_verify %s: %s%s", file, r.Out, r.Err)
		}
	}
}

// TestCommands checks that keys of every kind sign trees, packages and archives. evmctl and
// rpm verify the signatures.
func TestCommands(t *testing.T) {
	harness.Root(t)
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	s := harness.NewTPM(t)
	secret := harness.SecretFile(t, auth)
	for name, args := range map[string][]string{
		"file":   {"--algorithm", "p256"},
		"pkcs11": {"--on", h.URI(t, "build", "", pin)},
		"tpm2":   {"--algorithm", "p256", "--on", "tpm2:?device=" + s.Device + "&auth-source=file:" + secret, "--with", "rpm,evm"},
	} {
		t.Run(name, func(t *testing.T) {
			keys := filepath.Join(t.TempDir(), "keys")
			watchProcesses(t)
			uri, id := initIn(t, keys, args...)
			cert := filepath.Join(keys, "x509_ima")
			if name == "tpm2" { // the last of several
				cert = filepath.Join(keys, "x509_evm")
			}
			dir, manifest := tree(t), filepath.Join(t.TempDir(), "manifest")
			sign := []string{"rootfs", "sign", "--verbose", "--key", uri, "--cert", cert + ".crt", "--manifest", manifest, dir}
			if r := program(t, 0, sign...); !strings.Contains(r.Out, id) {
				t.Errorf("the key id %s is not in %s", id, r.Out)
			}
			evmctlVerifies(t, cert+".der", dir)
			program(t, 0, "rootfs", "verify", "--cert", cert+".crt", "--manifest", manifest, dir)
			if r := program(t, 0, sign...); !strings.Contains(r.Out, "4 unchanged") {
				t.Errorf("signed again: %s", r.Out)
			}
			data, err := os.ReadFile(manifest)
			check(t, err)
			noSecret(t, "manifest", data)

			rpm := packages.Copy(t, "sha256", t.TempDir())
			program(t, 0, "rpm", "sign", "--key", uri, "--cert", cert+".crt", rpm)
			if verified := packages.InstallIMA(t, t.TempDir(), rpm, cert+".crt"); len(verified) == 0 {
				t.Error("no installed file was verified")
			}
			archive, unpacked := filepath.Join(t.TempDir(), "a.tar"), t.TempDir()
			harness.Must(t, "tar", "-C", tree(t), "-cf", archive, ".")
			program(t, 0, "tar", "sign", "--key", uri, "--cert", cert+".crt", archive, "-o", archive+".signed")
			harness.Must(t, "tar", "-C", unpacked, "--xattrs", "--xattrs-include=*", "-xf", archive+".signed")
			evmctlVerifies(t, cert+".der", unpacked)

			if r := program(t, 0, "key", "show", uri); !strings.Contains(r.Out, id) && name != "tpm2" {
				t.Errorf("key show: %s", r.Out)
			}
		})
	}
}

// TestKeyDirectories checks that the directory of a TPM's key files stands for x509_ima, and
// that the directory of a token's certificates is refused as a key.
func TestKeyDirectories(t *testing.T) {
	harness.Root(t)
	s := harness.NewTPM(t)
	keys, dir := filepath.Join(t.TempDir(), "keys"), tree(t)
	device := "?device=" + s.Device
	program(t, 0, "key", "init", "--algorithm", "p256", "--with", "evm", "--on", "tpm2:"+device, keys)
	program(t, 0, "rootfs", "sign", "--key", "tpm2:"+keys+device, dir)
	program(t, 0, "rootfs", "verify", "--cert", keys, dir)
	evmctlVerifies(t, filepath.Join(keys, "x509_ima.der"), dir)
	if r := program(t, 1, "rootfs", "sign", "--key", keys, dir); !strings.Contains(r.Err, "open key tpm2:"+keys+"/x509_ima.key: ") {
		t.Errorf("without the device: %s", r.Err)
	}
	program(t, 0, "key", "init", "--algorithm", "p256", "--name", "b", "--on", "tpm2:"+device, "--ca-key", "tpm2:"+keys+device, keys)

	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	certs := filepath.Join(t.TempDir(), "certs")
	uri, _ := initIn(t, certs, "--on", h.URI(t, "build", "", pin))
	program(t, 0, "rootfs", "sign", "--force", "--key", uri, "--cert", certs, dir)
	if r := program(t, 1, "rootfs", "sign", "--key", certs, dir); !strings.Contains(r.Err, "a key in a token or TPM is named by its URI") {
		t.Errorf("certificates only: %s", r.Err)
	}
}

// watchProcesses checks that no secret is in the command lines and environments of all
// processes, until the test ends.
func watchProcesses(t *testing.T) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, kind := range []string{"cmdline", "environ"} {
				files, _ := filepath.Glob("/proc/[0-9]*/" + kind)
				for _, file := range files {
					data, _ := os.ReadFile(file) // the process may have ended
					noSecret(t, file, data)
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// TestRotation checks that --from-key-id replaces the signatures of one key in trees, packages
// and archives. Signatures of other keys, and unsigned files, stay as they are.
func TestRotation(t *testing.T) {
	harness.Root(t)
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "vault", pin)
	h.InitToken(t, "y2026", pin)
	h.InitToken(t, "y2027", pin)
	base := t.TempDir()
	at := func(name string) string { return filepath.Join(base, name) }
	program(t, 0, "key", "init", "--only-ca", "--algorithm", "p384", "--on", h.URI(t, "vault", "", pin), at("ca"))
	ca := []string{"--ca-key", h.URI(t, "vault", "system_trusted_key", pin)} // its certificate is in the token
	old, oldID := initIn(t, at("old"), append(ca, "--on", h.URI(t, "y2026", "", pin), "--subject", "Device 2026")...)
	new, newID := initIn(t, at("new"), append(ca, "--on", h.URI(t, "y2027", "", pin), "--subject", "Device 2027")...)
	for _, name := range []string{"old", "new"} {
		program(t, 0, "key", "check", "--ca", at("ca/system_trusted_key.crt"), at(name+"/x509_ima.crt"))
	}
	third := harness.Keys(t, "p256")

	dir := tree(t)
	program(t, 0, "rootfs", "sign", "--key", old, "--exclude", "/bin/id", dir)
	rotate := []string{"rootfs", "sign", "--verbose", "--key", new, "--from-key-id", oldID, dir}
	if r := program(t, 0, rotate...); !strings.Contains(r.Out, "3 signed") || !strings.Contains(r.Out, "it has no signature to replace") {
		t.Errorf("rotated: %s", r.Out)
	}
	check(t, os.Remove(filepath.Join(dir, "bin/id")))
	evmctlVerifies(t, at("new/x509_ima.der"), dir)
	if r := program(t, 0, rotate...); !strings.Contains(r.Out, "3 unchanged") {
		t.Errorf("rotated again: %s", r.Out)
	}
	harness.Must(t, "cp", "/usr/bin/id", filepath.Join(dir, "bin"))
	program(t, 0, "rootfs", "sign", "--key", third+"/x509_ima.key", "--include", "/bin/id", dir)
	if r := program(t, 1, rotate...); !strings.Contains(r.Err, "signed by another key") || !strings.Contains(r.Err, "bin/id") {
		t.Errorf("a third key's signature: %s", r.Err)
	}

	rpm := packages.Copy(t, "sha256", t.TempDir())
	program(t, 0, "rpm", "sign", "--key", old, rpm)
	program(t, 0, "rpm", "sign", "--key", new, "--from-key-id", oldID, rpm)
	packages.InstallIMA(t, t.TempDir(), rpm, at("new/x509_ima.crt"))
	program(t, 1, "rpm", "sign", "--key", third+"/x509_ima.key", "--from-key-id", oldID, rpm)

	archive, unpacked := at("a.tar"), t.TempDir()
	harness.Must(t, "tar", "-C", tree(t), "-cf", archive, ".")
	program(t, 0, "tar", "sign", "--key", old, archive, "-o", at("old.tar"))
	program(t, 0, "tar", "sign", "--key", new, "--from-key-id", oldID, at("old.tar"), "-o", at("new.tar"))
	harness.Must(t, "tar", "-C", unpacked, "--xattrs", "--xattrs-include=*", "-xf", at("new.tar"))
	evmctlVerifies(t, at("new/x509_ima.der"), unpacked)

	repo := at("repo")
	check(t, os.Mkdir(repo, 0o755))
	packages.Repository(t, repo, "sha256")
	program(t, 0, "repo", "sign", "--in-place", "--key", old, repo)
	program(t, 0, "repo", "sign", "--output", at("repo.new"), "--key", new, "--from-key-id", oldID, repo)
	if r := program(t, 0, "rpm", "verify", "--cert", at("new/x509_ima.crt"), at("repo.new")); !strings.Contains(r.Out, "ok") {
		t.Errorf("rotated repository: %s", r.Out)
	}

	program(t, 2, "rootfs", "sign", "--key", new, "--from-key-id", oldID, "--force", dir)
	program(t, 2, "rootfs", "sign", "--key", new, "--from-key-id", newID, dir)
	program(t, 2, "rootfs", "sign", "--key", new, "--from-key-id", "xyz", dir)
}

// TestInitLeavesNothing checks that keys made in a token are deleted if the certificate cannot
// be written.
func TestInitLeavesNothing(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	dir := t.TempDir()
	program(t, 1, "key", "init", "--on", h.URI(t, "build", "", pin), "/proc/nothing-can-be-made-here")
	if left := pkcs11Tool(t, h, "--list-objects"); strings.TrimSpace(left) != "" {
		t.Errorf("left in the token: %s", left)
	}
	keys := filepath.Join(dir, "keys")
	program(t, 0, "key", "init", "--algorithm", "p256", "--on", h.URI(t, "build", "", pin), keys)
	before := pkcs11Tool(t, h, "--list-objects")
	for _, want := range []string{"Access:     sensitive, always sensitive, never extractable, local", "x509_ima", "system_trusted_key", "Certificate Object"} {
		if !strings.Contains(before, want) {
			t.Errorf("%q is not in %s", want, before)
		}
	}
	if r := program(t, 1, "key", "init", "--on", h.URI(t, "build", "", pin), filepath.Join(dir, "again")); !strings.Contains(r.Err, "exists already") {
		t.Errorf("a second time: %s", r.Err)
	}
	if after := pkcs11Tool(t, h, "--list-objects"); after != before {
		t.Errorf("the token's objects were\n%sand are\n%s", before, after)
	}
}

// TestUsage checks wrong command lines.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"key", "init", "--on", "file:x", t.TempDir()},
		{"key", "init", "--on", "pkcs11:token=T", t.TempDir()},
		{"key", "init", "--ca", "x.crt", t.TempDir()},
		{"key", "init", "--only-ca", "--with", "rpm", t.TempDir()},
		{"key", "show", "pkcs11:token=T;object=O?module-path=/m.so&pin-value=" + pin},
		{"key", "show", "tpm2:0x80000000"},
	} {
		program(t, 2, args...)
	}
	h, p := tokenWith(t, "p256")
	bare := strings.Split(p.uri, "&pin-source")[0]
	if r := program(t, 1, "key", "show", bare); !strings.Contains(r.Err, "--key-pass") {
		t.Errorf("no PIN and no terminal: %s", r.Err)
	}
	t.Setenv("TOKEN_PIN", pin)
	program(t, 0, "key", "show", bare, "--key-pass", "env:TOKEN_PIN")
	program(t, 0, "key", "show", bare+"&pin-source=env:TOKEN_PIN")
	_ = h
}

// TestWithoutCgo checks that a build without cgo refuses PKCS#11 by name, and opens keys of a
// TPM.
func TestWithoutCgo(t *testing.T) {
	static := filepath.Join(t.TempDir(), "imasign-build")
	build := exec.Command("go", "build", "-o", static, "github.com/imasign/imasign-build/cmd/imasign-build")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r := harness.Run(t, static, "key", "show", "pkcs11:token=T;object=O?module-path=/usr/lib/softhsm/libsofthsm2.so")
	if r.Code != 1 || !strings.Contains(r.Err, "pkcs11 needs a build with cgo") {
		t.Errorf("exit %d: %s", r.Code, r.Err)
	}
	p := inTPM(t, harness.NewTPM(t), "p256")
	harness.Must(t, static, "key", "show", p.uri)
}

// TestMemoryIsGuarded checks that another process of the same user can neither trace the
// program nor read its memory, even before the program has a PIN.
func TestMemoryIsGuarded(t *testing.T) {
	harness.Root(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	check(t, syscall.Mkfifo(fifo, 0o666))
	check(t, os.Chmod(fifo, 0o666))
	for dir := filepath.Dir(fifo); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o755))
	}
	copied := filepath.Join(filepath.Dir(fifo), "imasign-build")
	harness.Must(t, "cp", harness.Program(t), copied)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd := exec.Command(copied, "key", "show", fifo)
	cmd.SysProcAttr = nobody
	check(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // from here on it is reading
	check(t, err)
	defer w.Close()
	peek := exec.Command("head", "-c1", fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid))
	peek.SysProcAttr = nobody
	if r := harness.RunCommand(t, peek); !strings.Contains(r.Err, "Permission denied") {
		t.Errorf("its memory can be read: %s", r.Err)
	}
	control := exec.Command("sh", "-c", "sleep 5 & head -c1 /proc/$!/environ; kill $!")
	control.SysProcAttr = nobody
	if r := harness.RunCommand(t, control); strings.Contains(r.Err, "Permission denied") {
		t.Errorf("the control is wrong: %s", r.Err)
	}
}
