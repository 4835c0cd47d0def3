package rpm

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// indexed lists the files below dir that createrepo_c lists in metadata.
func indexed(t *testing.T, dir string) (files []string) {
	t.Helper()
	packages.CreateRepo(t, dir, "--general-compress-type=gz")
	primary, err := filepath.Glob(filepath.Join(dir, "repodata", "*-primary.xml.gz"))
	if err != nil || len(primary) != 1 {
		t.Fatalf("primary metadata: %q, %v", primary, err)
	}
	text := harness.Must(t, "zcat", primary[0])
	for _, m := range regexp.MustCompile(`<location href="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		files = append(files, filepath.Join(dir, m[1]))
	}
	return files
}

// TestLinkedPackages checks that verify and sign process every package that createrepo_c lists
// through symbolic links, or say why not.
func TestLinkedPackages(t *testing.T) {
	keys, program := harness.Keys(t, "p256"), harness.Program(t)
	cert := []string{"--progress=none", "--cert", filepath.Join(keys, "x509_ima.crt")}
	verify := func(path string) int {
		return harness.Run(t, program, append([]string{"rpm", "verify", path}, cert...)...).Code
	}
	top := t.TempDir()
	dir, pool := filepath.Join(top, "dir"), filepath.Join(top, "pool")
	for _, d := range []string{dir, dir + "/sub", pool + "/more"} {
		check(t, os.MkdirAll(d, 0o755))
	}
	packages.Copy(t, "zstd", dir+"/sub")
	linked := packages.Copy(t, "xz", pool)
	packages.Copy(t, "noarch", pool+"/more")
	for name, to := range map[string]string{
		"sub/inside.rpm": filepath.Base(packages.Path(t, "zstd")), "linked.rpm": linked, "more": "../pool/more", "sub/up": "..",
	} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	before := content(t, linked)

	r := harness.Run(t, program, append([]string{"rpm", "sign", dir}, keyFlags(keys)...)...)
	if r.Code != 1 || strings.Count(r.Err, "name the file or its directory as well") != 2 || !strings.Contains(r.Err, "linked.rpm") {
		t.Errorf("exit %d: %s", r.Code, r.Err)
	}
	if !bytes.Equal(content(t, linked), before) {
		t.Error("a file outside the directory was written to")
	}
	if code := verify(dir); code != 3 {
		t.Errorf("verify of linked packages without signatures: exit %d", code)
	}
	for _, command := range [][]string{{"rpm", "digests"}, {"rpm", "show"}} {
		out := harness.Must(t, program, append(command, dir)...)
		for _, name := range []string{"zstd", "xz", "noarch"} {
			for _, entry := range packages.Entries(t, packages.Path(t, name)) {
				if command[1] == "digests" && entry.Digest != "" && !strings.Contains(out, entry.Digest) {
					t.Errorf("rpm digests does not list %s of %s", entry.Path, name)
				}
			}
			if command[1] == "show" && !strings.Contains(out, "imatest-"+name+"-1.0") {
				t.Errorf("rpm show does not show %s", name)
			}
		}
	}

	signed := filepath.Join(top, "signed")
	rpmSign(t, keys, "--output-dir", signed, dir)
	files := indexed(t, signed)
	if len(files) != 4 {
		t.Errorf("createrepo_c indexes %q", files)
	}
	rpmSign(t, keys, dir, pool)
	files = append(files, indexed(t, dir)...)
	for _, file := range append(files, dir) {
		if code := verify(file); code != 0 {
			t.Errorf("verify %s: exit %d", file, code)
		}
	}
	if info, err := os.Lstat(filepath.Join(dir, "linked.rpm")); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
}
