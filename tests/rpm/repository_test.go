package rpm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestRepository installs from a repository on this machine with dnf.
func TestRepository(t *testing.T) {
	repo := t.TempDir()
	packages.Repository(t, repo, "openpgp-rsa", "openpgp-empty", "xz")
	for _, c := range []struct {
		name, key, install string
		want               int
		says               string
	}{
		{"unchecked", "", "imatest-xz", 0, "Complete!"},
		{"signed", packages.PublicKey(t, "rsa"), "imatest-sha256", 0, "Complete!"},
		{"unsigned", packages.PublicKey(t, "rsa"), "imatest-xz", 1, "is not signed"},
		{"other key", packages.PublicKey(t, "rsa"), "imatest-empty", 1, "GPG Keys are configured as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := packages.DNF{Repository: repo, Root: t.TempDir(), Key: c.key}
			r := d.Install(t, c.install)
			if r.Code != c.want || !strings.Contains(r.Out+r.Err, c.says) {
				t.Errorf("dnf install %s: exit %d, want %d and %q\n%s%s", c.install, r.Code, c.want, c.says, r.Out, r.Err)
			}
			_, err := os.Stat(filepath.Join(d.Root, "usr/bin", c.install)) // imatest-empty has no files
			if installed := err == nil; installed != (c.want == 0) {
				t.Errorf("installed: %t", installed)
			}
		})
	}
}

// TestRepositoryIMA checks that dnf uses rpm's IMA plugin too.
func TestRepositoryIMA(t *testing.T) {
	repo, root, signed := t.TempDir(), t.TempDir(), frozenPath("v4/sha256.rsa2048.rpm")
	harness.Must(t, "cp", signed, repo)
	packages.CreateRepo(t, repo)
	d := packages.DNF{Repository: repo, Root: root, Key: frozenAbs(t, "keys/openpgp-rsa2048.asc")}
	if r := d.Install(t, "imatest-sha256"); r.Code != 0 {
		t.Fatalf("dnf install: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	verified, err := packages.CheckInstalled(t, root, signed, frozenPath("keys/rsa2048.crt"))
	check(t, err)
	if len(verified) != 4 {
		t.Errorf("verified %v", verified)
	}
}

func frozenAbs(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(frozenPath(file))
	check(t, err)
	return path
}

// TestDownload checks that dnf verifies the checksums in repodata, and refuses a package that
// was changed after createrepo_c.
func TestDownload(t *testing.T) {
	repo, to := t.TempDir(), t.TempDir()
	packages.Repository(t, repo, "zstd")
	d := packages.DNF{Repository: repo, Root: t.TempDir()}
	if r := d.Download(t, to, "imatest-zstd"); r.Code != 0 {
		t.Fatalf("dnf: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	file := filepath.Base(packages.Path(t, "zstd"))
	harness.Must(t, "cmp", filepath.Join(to, file), filepath.Join(repo, file))

	packages.AddSign(t, "rsa", filepath.Join(repo, file))
	r := d.Download(t, t.TempDir(), "imatest-zstd")
	if r.Code == 0 || !strings.Contains(r.Out+r.Err, "checksum") {
		t.Errorf("dnf takes a package that is not what repodata says: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}
