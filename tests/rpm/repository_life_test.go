package rpm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestRepositoryLife takes a repository through everything that happens to one, and installs
// from it with dnf after each step.
func TestRepositoryLife(t *testing.T) {
	t.Parallel()
	keys, dir := harness.Keys(t, "p256"), t.TempDir()
	repo, old := filepath.Join(dir, "repo"), filepath.Join(dir, "old")
	cert := filepath.Join(keys, "x509_ima.crt")
	check(t, os.Mkdir(repo, 0o755))
	packages.Repository(t, repo, "zstd")
	verify := func() harness.Result {
		return harness.Run(t, harness.Program(t), "repo", "verify", "--cert", cert, repo)
	}
	sign := func(command string, flags ...string) {
		t.Helper()
		args := append([]string{"repo", command}, flags...)
		if command == "sign" {
			args = append(args, keyFlags(keys)...)
		}
		harness.Must(t, harness.Program(t), append(args, repo)...)
		check(t, os.RemoveAll(old))
	}
	install := func(want int, names ...string) string {
		t.Helper()
		d := packages.DNF{Repository: repo, Root: t.TempDir()}
		r := d.Install(t, names...)
		if r.Code != want {
			t.Errorf("dnf install %q: exit %d\n%s%s", names, r.Code, r.Out, r.Err)
		}
		return d.Root
	}
	signedAs := func(root, name string) {
		t.Helper()
		verified, err := packages.CheckInstalled(t, root, filepath.Join(repo, filepath.Base(packages.Path(t, name))), cert)
		if check(t, err); len(verified) == 0 {
			t.Errorf("%s: nothing was verified", name)
		}
	}

	sign("sign", "-o", old, "--swap")
	// The daily job: one more package, behind a link into a pool.
	pool := packages.Copy(t, "xz", t.TempDir())
	check(t, os.Symlink(pool, filepath.Join(repo, filepath.Base(pool))))
	if r := verify(); r.Code != 3 || !strings.Contains(r.Out, "unlisted") {
		t.Errorf("an addition: exit %d\n%s", r.Code, r.Out)
	}
	sign("sign", "-o", old, "--swap")
	if r := verify(); r.Code != 0 {
		t.Errorf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	root := install(0, "imatest-zstd", "imatest-xz")
	signedAs(root, "zstd")
	signedAs(root, "xz")

	// Stripped in place: dnf refuses packages until the metadata is regenerated.
	harness.Must(t, harness.Program(t), "rpm", "strip", repo)
	install(1, "imatest-zstd")
	if r := verify(); r.Code != 3 || !strings.Contains(r.Out, "differs") {
		t.Errorf("after strip: exit %d\n%s", r.Code, r.Out)
	}
	sign("refresh")
	if root := install(0, "imatest-zstd"); packages.SecurityIMA(t, filepath.Join(root, "usr/bin/imatest-zstd")) != "" {
		t.Error("a stripped package was signed")
	}
	sign("sign", "--in-place")
	signedAs(install(0, "imatest-zstd"), "zstd")
	sign("strip", "-o", old, "--swap")
	install(0, "imatest-zstd", "imatest-xz")
}

// TestChildGetsNothing checks that createrepo_c does not get the descriptor of a passphrase.
func TestChildGetsNothing(t *testing.T) {
	keys, dir := harness.Keys(t, "p256"), t.TempDir()
	repo, bin, pass := filepath.Join(dir, "repo"), filepath.Join(dir, "bin"), filepath.Join(dir, "passphrase")
	check(t, os.MkdirAll(repo, 0o755))
	check(t, os.MkdirAll(bin, 0o755))
	packages.Repository(t, repo, "zstd")
	key := filepath.Join(dir, "key")
	harness.Must(t, "openssl", "pkcs8", "-topk8", "-v2", "aes256", "-passout", "pass:secret", "-in", filepath.Join(keys, "x509_ima.key"), "-out", key)
	check(t, os.WriteFile(pass, []byte("secret"), 0o600))
	real, err := exec.LookPath("createrepo_c")
	check(t, err)
	harness.Executable(t, filepath.Join(bin, "createrepo_c"), []byte("#!/bin/sh\nls -l /proc/$$/fd >"+dir+"/fds\nexec "+real+" \"$@\"\n"))
	f, err := os.Open(pass)
	check(t, err)
	defer f.Close()
	cmd := exec.Command(harness.Program(t), "repo", "sign", "--progress=none", "--key", key, "--cert", filepath.Join(keys, "x509_ima.crt"), "--key-pass", "fd:3", "-o", filepath.Join(dir, "new"), repo)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := os.ReadFile(filepath.Join(dir, "fds"))
	if check(t, err); strings.Contains(string(list), pass) || !strings.Contains(string(list), "/dev/null") {
		t.Errorf("createrepo_c has\n%s", list)
	}
}
