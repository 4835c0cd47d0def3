package rpm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestGPGAgent signs packages and a repository's metadata with keys that only gpg's agent has.
// rpm and gpg verify them.
func TestGPGAgent(t *testing.T) {
	keys, program := harness.Keys(t, "p256"), harness.Program(t)
	for key, want := range map[string]string{"rsa": "Header V4 RSA/SHA256 Signature, key ID", "ed25519": "Header V4 EdDSA/SHA256 Signature, key ID"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			env, id := packages.GPG(t, key)
			run := func(args ...string) harness.Result {
				cmd := exec.Command(program, append(args, keyFlags(keys)...)...)
				cmd.Env = append(slices.Clone(env), "SECRET=passphrase-of-nobody")
				return harness.RunCommand(t, cmd)
			}
			dir := filepath.Join(t.TempDir(), "repo")
			check(t, os.Mkdir(dir, 0o755))
			packages.Repository(t, dir, "zstd", "openpgp-ed25519")
			signed := filepath.Join(t.TempDir(), "signed")
			if r := run("repo", "sign", "-o", signed, "--openpgp-key", "gpg:"+id, dir); r.Code != 0 {
				t.Fatalf("repo sign: exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
			files, err := filepath.Glob(filepath.Join(signed, "*.rpm"))
			if err != nil || len(files) != 2 {
				t.Fatalf("%q, %v", files, err)
			}
			for _, file := range files {
				if r := packages.Checksig(t, file); r.Code != 0 || !strings.Contains(r.Out, want) || strings.Contains(r.Out, "NOKEY") {
					t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
				}
				before := content(t, file)
				if r := run("rpm", "sign", "--openpgp-key", "gpg:"+id, file); r.Code != 0 || string(content(t, file)) != string(before) {
					t.Errorf("again: exit %d\n%s%s", r.Code, r.Out, r.Err)
				}
			}
			repomd := filepath.Join(signed, "repodata", "repomd.xml")
			verify := exec.Command("gpg", "--batch", "--verify", repomd+".asc", repomd)
			verify.Env = env
			if r := harness.RunCommand(t, verify); r.Code != 0 || !strings.Contains(r.Err, "Good signature") {
				t.Errorf("%s%s", r.Out, r.Err)
			}
			for _, c := range []struct{ flag, says string }{{"gpg:nobody", "gpg has no secret key"}, {"gpg:imatest", "give the fingerprint of one"}} {
				if r := run("rpm", "sign", "--openpgp-key", c.flag, files[0]); r.Code != 1 || !strings.Contains(r.Err, c.says) {
					t.Errorf("%s: exit %d\n%s", c.flag, r.Code, r.Err)
				}
			}
			if r := run("rpm", "sign", "--openpgp-key", "gpg:", files[0]); r.Code != 2 {
				t.Errorf("no key id: exit %d", r.Code)
			}
		})
	}
}

// TestGPGIsTheChildOfItsParent checks that gpg gets no secret and no descriptors except its own,
// and ends when the process that started it is killed.
func TestGPGIsTheChildOfItsParent(t *testing.T) {
	keys, dir := harness.Keys(t, "p256"), t.TempDir()
	started := filepath.Join(dir, "started")
	check(t, syscall.Mkfifo(started, 0o600))
	script := fmt.Sprintf("#!/bin/sh\n{ echo \"$$\"; env; ls /proc/$$/fd; } >%s/log\n: >%s\nexec sleep 1000\n", dir, started)
	harness.Executable(t, filepath.Join(dir, "gpg"), []byte(script))
	secret, err := os.Open(filepath.Join(keys, "x509_ima.key"))
	check(t, err)
	defer secret.Close()
	cmd := exec.Command(harness.Program(t), append([]string{"rpm", "sign", "--key-pass", "env:OF_THE_KEY", "--openpgp-key", "gpg:a", "--openpgp-pass", "env:OF_GPG", packages.Copy(t, "zstd", dir)}, keyFlags(keys)...)...)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "OF_THE_KEY=one-secret", "OF_GPG=other-secret", "KEPT=1"}
	cmd.ExtraFiles = slices.Repeat([]*os.File{secret}, 6) // gpg must not get these
	check(t, cmd.Start())
	_, err = os.ReadFile(started) // until gpg runs
	check(t, err)
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	log := strings.Fields(string(content(t, filepath.Join(dir, "log"))))
	if text := strings.Join(log, " "); strings.Contains(text, "secret") || !strings.Contains(text, "KEPT=1") {
		t.Errorf("gpg has\n%s", text)
	}
	for _, fd := range log[len(log)-7:] {
		if slices.Contains([]string{"5", "6", "7", "8", "9"}, fd) { // 10 and 11 belong to the shell
			t.Errorf("gpg has descriptors %s", log[len(log)-7:])
		}
	}
	for pid := log[0]; ; {
		status, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return // gone, or a zombie
		}
		time.Sleep(10 * time.Millisecond)
	}
}
