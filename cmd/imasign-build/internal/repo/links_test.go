package repo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// linkedRepository has packages behind symbolic links that createrepo_c follows: to a file
// outside, to a directory outside, and to the inside in every way.
func linkedRepository(t *testing.T) (dir, out, pool string) {
	t.Helper()
	dir, out = repository(t)
	pool = filepath.Join(filepath.Dir(dir), "pool")
	check(t, os.MkdirAll(filepath.Join(pool, "more/deep"), 0o755))
	packages.Copy(t, "xz", pool)
	packages.Copy(t, "noarch", filepath.Join(pool, "more/deep"))
	write(t, filepath.Join(pool, "more/notes"), "notes")
	for name, to := range map[string]string{
		"xz.rpm": filepath.Join(pool, filepath.Base(packages.Path(t, "xz"))), "more": "../pool/more",
		"alias.rpm": "Packages/i/" + filepath.Base(packages.Path(t, "zstd")), "inside": "Packages", "absolute": filepath.Join(dir, "Packages"),
		"around": "../repo/Packages", "dangling": "nowhere", "images/loop": "loop",
	} {
		check(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	packages.CreateRepo(t, dir, "--general-compress-type=gz")
	return dir, out, pool
}

// TestLinks checks that everything that createrepo_c lists through links is signed in the new
// repository, and that nothing outside the repository is changed.
func TestLinks(t *testing.T) {
	dir, out, pool := linkedRepository(t)
	before, outside := snapshot(t, dir), snapshot(t, pool)
	mustRun(t, Options{Dir: dir, Output: out})
	same(t, dir, before)
	same(t, pool, outside)
	check(t, os.Rename(dir, dir+".gone")) // links to it are now dangling
	listed := signed(t, out)
	for _, href := range []string{"xz.rpm", "more/deep/" + filepath.Base(packages.Path(t, "noarch")), "alias.rpm", "inside/i/" + filepath.Base(packages.Path(t, "rich")), "absolute/i/" + filepath.Base(packages.Path(t, "rich"))} {
		if !listed[href] {
			t.Errorf("%s is not listed", href)
		}
	}
	for name, want := range map[string]string{"absolute": "Packages", "around": "Packages", "inside": "Packages", "dangling": "nowhere"} {
		if to, err := os.Readlink(filepath.Join(out, name)); err != nil || to != want {
			t.Errorf("%s leads to %q, %v", name, to, err)
		}
	}
}

// TestLinksInPlace checks that packages outside are not changed and fail with their name.
func TestLinksInPlace(t *testing.T) {
	dir, _, pool := linkedRepository(t)
	outside := snapshot(t, pool)
	results, _, err := run(t, Options{Dir: dir, InPlace: true})
	if !errors.Is(err, ErrPackages) {
		t.Error(err)
	}
	same(t, pool, outside)
	failed := 0
	for _, r := range results {
		if r.Err != nil {
			failed++
			if !errors.Is(r.Err, rpmsign.ErrOutside) {
				t.Error(r.Err)
			}
		}
	}
	if failed != 2 {
		t.Errorf("%d of %d failed", failed, len(results))
	}
	agree(t, dir)
}

// TestLinkAround checks that a link to a directory above the repository is not followed, with a
// warning, and that packages listed through it are refused.
func TestLinkAround(t *testing.T) {
	dir, out := repository(t)
	packages.Copy(t, "xz", filepath.Dir(dir))
	check(t, os.Symlink("..", filepath.Join(dir, "up")))
	_, w, err := run(t, Options{Dir: dir, Output: out})
	check(t, err)
	if !w.have("neither signed nor listed") {
		t.Errorf("%q", w.list)
	}
	check(t, os.Remove(filepath.Join(out, "up")))
	signed(t, out)
	list := filepath.Join(t.TempDir(), "list")
	write(t, list, "up/"+filepath.Base(packages.Path(t, "xz"))+"\n")
	packages.CreateRepo(t, dir, "--general-compress-type=gz", "--pkglist="+list)
	if _, _, err := run(t, Options{Dir: dir, Output: out + "2"}); err == nil || !strings.Contains(err.Error(), "out of the directory") {
		t.Error(err)
	}
}

// TestRepodataLink checks that a link to metadata elsewhere becomes a directory.
func TestRepodataLink(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		dir, out := repository(t)
		there := filepath.Join(filepath.Dir(dir), "metadata")
		check(t, os.Rename(filepath.Join(dir, "repodata"), there))
		check(t, os.Symlink(there, filepath.Join(dir, "repodata")))
		o := Options{Dir: dir, Output: out, Swap: true}
		if inPlace {
			o = Options{Dir: dir, InPlace: true}
		}
		before := snapshot(t, there)
		mustRun(t, o)
		same(t, there, before)
		signed(t, dir)
	}
}
