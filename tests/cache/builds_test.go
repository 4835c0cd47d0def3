package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// builds sign one kind of container each. A build makes the same unsigned input in a new
// directory, signs it, has another program verify the signatures, and returns the signed
// output, which is a file or a tree, with the counts.
var builds = map[string]func(l *lab, dir string) (out string, s signed, calls int){
	"tree":       buildTree,
	"archive":    buildArchive,
	"packages":   buildPackages,
	"repository": buildRepository,
	"layout":     buildLayout,
	"image":      buildImage,
}

// contents is how many files have different contents in most builds.
const contents = 100

func buildTree(l *lab, dir string) (string, signed, int) {
	tree(l, dir, contents)
	s, calls := l.sign("rootfs", "sign", dir)
	l.verified(dir, contents)
	return dir, s, calls
}

func buildArchive(l *lab, dir string) (string, signed, int) {
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar")
	pack(l, in, tree(l, filepath.Join(dir, "tree"), contents))
	s, calls := l.sign("tar", "sign", in, "-o", out)
	l.verified(unpacked(l, out), contents)
	return out, s, calls
}

// pack makes an archive of a tree. Archives of equal trees are equal.
func pack(l *lab, archive, tree string) {
	l.Helper()
	harness.Must(l, "tar", "-C", tree, "--sort=name", "--mtime=@1700000000", "-cf", archive, ".")
}

// unpacked extracts an archive and returns the directory.
func unpacked(l *lab, archive string) string {
	l.Helper()
	dir := l.TempDir()
	harness.Must(l, "tar", "-C", dir, "--xattrs", "--xattrs-include=*", "-xf", archive)
	return dir
}

func buildPackages(l *lab, dir string) (string, signed, int) {
	check(l, os.Mkdir(dir, 0o755))
	rich, plain := packages.Copy(l, "rich", dir), packages.Copy(l, "sha256", dir)
	s, calls := l.sign("rpm", "sign", dir)
	installed(l, rich, plain)
	return dir, s, calls
}

// installed fails the test unless rpm installs packages, and evmctl accepts the signatures
// that its plugin sets.
func installed(l *lab, paths ...string) {
	l.Helper()
	for _, path := range paths {
		if n := len(packages.InstallIMA(l, l.TempDir(), path, filepath.Join(l.certs, "x509_ima.crt"))); n == 0 {
			l.Errorf("%s: no installed file was verified", path)
		}
	}
}

func buildRepository(l *lab, dir string) (string, signed, int) {
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	check(l, os.MkdirAll(in, 0o755))
	packages.Repository(l, in, "rich", "sha256")
	s, calls := l.sign("repo", "sign", in, "-o", out)
	found, err := filepath.Glob(filepath.Join(out, "*.rpm"))
	check(l, err)
	installed(l, found...)
	check(l, os.RemoveAll(filepath.Join(out, "repodata"))) // it has times
	return out, s, calls
}

// buildLayout makes an image layout with one layer, whose blob has the files of the tree.
func buildLayout(l *lab, dir string) (string, signed, int) {
	var pairs []string
	for i := range contents {
		pairs = append(pairs, fmt.Sprint("file-", i), fmt.Sprint("content ", i))
	}
	in, out := harness.NewImages(l), filepath.Join(dir, "out")
	in.Index(in.Image("one", harness.Layer(pairs...)))
	check(l, os.MkdirAll(dir, 0o755))
	s, calls := l.sign("tar", "sign", "--oci", in.Dir, "-o", out)
	bundle := filepath.Join(dir, "bundle")
	harness.Must(l, harness.Tool(l, "umoci"), "unpack", "--image", out+":one", bundle)
	l.verified(filepath.Join(bundle, "rootfs"), contents)
	return out, s, calls
}

func buildImage(l *lab, dir string) (string, signed, int) {
	in, out := filepath.Join(dir, "in.ext4"), filepath.Join(dir, "out.ext4")
	from := tree(l, filepath.Join(dir, "tree"), contents)
	harness.Must(l, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", from, in, "8M")
	s, calls := l.sign("image", "sign", in, "-o", out)
	mounted, inside := imagetree.Mount(l, out), filepath.Join(dir, "inside")
	l.verified(mounted, contents)
	harness.Must(l, "cp", "-a", mounted, inside)
	imagetree.Unmount(l, mounted)
	return inside, s, calls // the image itself has the times at which its input was made
}

// TestSecondBuild builds each kind of container four times with one cache. The second build
// asks the token for nothing. Before the third, each signature in the cache is exchanged for
// one of another file: all are made anew, and the fourth build again asks for nothing.
func TestSecondBuild(t *testing.T) {
	l := newLab(t)
	for name, build := range builds {
		t.Run(name, func(t *testing.T) {
			l := l.is(t).with("cache of " + name)
			check(t, os.Mkdir(l.path(name), 0o755))
			out, s, made := build(l, l.path(name+"/1"))
			if s.Cached != 0 || made == 0 || made > s.Signed {
				t.Errorf("first build: %+v, the token made %d", s, made)
			}
			first := state(t, out)
			out, again, calls := build(l, l.path(name+"/2"))
			if again != (signed{s.Signed, s.Signed}) || calls != 0 {
				t.Errorf("second build: %+v, the token made %d", again, calls)
			}
			if state(t, out) != first {
				t.Error("the second build differs from the first")
			}
			if n := l.poison(); n != int64(made) {
				t.Errorf("%d signatures were in the cache, not %d", n, made)
			}
			out, s, calls = build(l.warned("signatures that are not valid"), l.path(name+"/3"))
			if s.Cached != 0 || calls != made {
				t.Errorf("build with wrong signatures in the cache: %+v, the token made %d", s, calls)
			}
			third := state(t, out)
			if third == first {
				t.Error("signatures did not change, although they were made anew")
			}
			l.sound()
			if out, _, calls = build(l, l.path(name+"/4")); calls != 0 || state(t, out) != third {
				t.Errorf("fourth build: the token made %d signatures", calls)
			}
		})
	}
}

// state returns what builds decide of a file or a tree: contents and xattrs.
func state(t testing.TB, path string) string {
	t.Helper()
	return harness.Must(t, "sh", "-euc", `[ -d "$0" ] || { sha256sum <"$0"; exit; }
cd "$0"
find . -type f | sort | xargs sha256sum
find . -type f | sort | xargs getfattr -m - -d -e hex`, path)
}
