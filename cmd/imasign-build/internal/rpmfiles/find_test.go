package rpmfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes a directory with files that are called like packages, and others.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"b.rpm", "a.rpm", "sub/c.rpm", "sub/b.rpm", "readme", "sub/x.rpm.bak"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	check(t, os.Mkdir(filepath.Join(dir, "dir.rpm"), 0o755))
	check(t, os.Symlink("a.rpm", filepath.Join(dir, "link.rpm")))
	return dir
}

func relative(dir string, units []Unit) (list []string) {
	for _, u := range units {
		list = append(list, strings.TrimPrefix(u.Path, dir+"/")+">"+u.Output)
	}
	return list
}

func TestFind(t *testing.T) {
	dir := tree(t)
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(dir, link))
	for _, c := range []struct {
		paths []string
		out   string
		want  []string
	}{
		{[]string{dir}, "", []string{"a.rpm>", "b.rpm>", "sub/b.rpm>", "sub/c.rpm>"}},
		{[]string{dir, dir + "/a.rpm", dir + "//sub"}, "", []string{"a.rpm>", "b.rpm>", "sub/b.rpm>", "sub/c.rpm>"}},
		{[]string{dir + "/readme", dir + "/link.rpm"}, "", []string{"link.rpm>", "readme>"}},
		{[]string{dir}, "out", []string{"a.rpm>out/a.rpm", "b.rpm>out/b.rpm", "link.rpm>out/link.rpm", "sub/b.rpm>out/sub/b.rpm", "sub/c.rpm>out/sub/c.rpm"}},
		{[]string{dir + "/sub/c.rpm"}, "out", []string{"sub/c.rpm>out/c.rpm"}},
	} {
		units, err := Find(c.paths, c.out)
		if got := relative(dir, units); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", c.paths, got, err)
		}
	}
	if units, err := Find([]string{link}, ""); err != nil || len(units) != 4 {
		t.Errorf("through a link: %v, %v", units, err)
	}
	if _, err := Find([]string{dir + "/b.rpm", dir + "/sub/b.rpm"}, "out"); !errors.Is(err, ErrSameOutput) {
		t.Error(err)
	}
	if _, err := Find([]string{dir + "/none.rpm"}, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// link makes a symbolic link called name below dir.
func link(t *testing.T, to, dir, name string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
	check(t, os.Symlink(to, filepath.Join(dir, name)))
}

// linkedTree makes a directory with links of every kind, and a pool beside it that some lead
// to.
func linkedTree(t *testing.T) (dir, pool string) {
	t.Helper()
	top := t.TempDir()
	dir, pool = filepath.Join(top, "dir"), filepath.Join(top, "pool")
	for _, name := range []string{"dir/a.rpm", "dir/z/e.rpm", "dir/.hidden/h.rpm", "dir/UPPER.RPM", "pool/b.rpm", "pool/sub/c.rpm", "pool/text"} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(top, name), nil, 0o644))
	}
	link(t, "a.rpm", dir, "again.rpm")
	link(t, dir+"/a.rpm", dir, "absolute.rpm")
	link(t, "../pool/b.rpm", dir, "b.rpm")
	link(t, "b.rpm", dir, "chain.rpm")
	link(t, "../pool/text", dir, "text.rpm")
	link(t, "../pool/b.rpm", dir, "no-package")
	link(t, "../pool/sub", dir, "linked.rpm")
	link(t, "z", dir, "alias")
	link(t, "..", dir, "z/up")
	link(t, "../..", dir, "z/top")
	link(t, "nowhere", dir, "dangling.rpm")
	link(t, "circle.rpm", dir, "circle.rpm")
	link(t, "nowhere", dir, "dangling")
	check(t, unix.Mkfifo(filepath.Join(dir, "fifo.rpm"), 0o644))
	check(t, os.Link(filepath.Join(dir, "a.rpm"), filepath.Join(dir, "hard.rpm")))
	return dir, pool
}

// TestFindThroughLinks checks that Find lists what createrepo_c lists, each file once and by
// its own name, and that it marks files outside.
func TestFindThroughLinks(t *testing.T) {
	dir, pool := linkedTree(t)
	units, err := Find([]string{dir}, "")
	check(t, err)
	var got []string
	for _, u := range units {
		line := strings.TrimPrefix(u.Path, dir+"/")
		if u.Outside != "" {
			line += " is " + strings.TrimPrefix(u.Outside, filepath.Dir(dir)+"/")
		}
		got = append(got, line)
	}
	// Through z/top the pool's own names are reached as well, all through links.
	want := []string{
		".hidden/h.rpm", "UPPER.RPM", "a.rpm", "b.rpm is pool/b.rpm", "circle.rpm", "dangling.rpm", "fifo.rpm", "hard.rpm",
		"linked.rpm/c.rpm is pool/sub/c.rpm", "text.rpm is pool/text", "z/e.rpm",
	}
	for i, line := range got { // b.rpm has several names, and any of them is right
		if strings.HasSuffix(line, " is pool/b.rpm") {
			got[i] = "b.rpm is pool/b.rpm"
		}
		if strings.HasSuffix(line, " is pool/sub/c.rpm") {
			got[i] = "linked.rpm/c.rpm is pool/sub/c.rpm"
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	units, err = Find([]string{dir, pool, pool + "/text"}, "")
	check(t, err)
	for _, u := range units {
		if u.Outside != "" {
			t.Errorf("%s was named, with %s", u.Path, u.Outside)
		}
	}
}

// TestFindForCopies checks that every path to a package has its own output, so that the copy
// has everything that the directory has.
func TestFindForCopies(t *testing.T) {
	dir, _ := linkedTree(t)
	check(t, os.Remove(filepath.Join(dir, "z/top")))
	units, err := Find([]string{dir}, "out")
	check(t, err)
	var got []string
	for _, u := range units {
		if u.Outside != "" {
			t.Errorf("%s is outside, and its copy is not", u.Path)
		}
		got = append(got, strings.TrimPrefix(u.Output, "out/"))
	}
	want := []string{
		".hidden/h.rpm", "UPPER.RPM", "a.rpm", "absolute.rpm", "again.rpm", "alias/e.rpm", "b.rpm", "chain.rpm", "circle.rpm", "dangling.rpm",
		"fifo.rpm", "hard.rpm", "linked.rpm/c.rpm", "text.rpm", "z/e.rpm",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	// A copy to its own path is in place.
	units, err = Find([]string{dir}, dir)
	check(t, err)
	outside := 0
	for _, u := range units {
		if u.Outside != "" {
			outside++
		}
	}
	if outside != 4 {
		t.Errorf("%d units are outside: %v", outside, units)
	}
}

// TestFindByWayOfLinks checks that paths mean what the kernel takes them for, also where
// lexical shortcuts differ.
func TestFindByWayOfLinks(t *testing.T) {
	dir, pool := linkedTree(t)
	units, err := Find([]string{dir + "/linked.rpm/.."}, "")
	check(t, err)
	if len(units) != 2 || units[0].Outside != "" {
		t.Errorf("%v instead of those of %s", units, pool)
	}
	for _, u := range units {
		if _, err := os.Stat(u.Path); err != nil {
			t.Error(err)
		}
	}
	t.Chdir(pool)
	units, err = Find([]string{"."}, "")
	check(t, err)
	if len(units) != 2 || units[0].Path != "b.rpm" || units[0].Outside != "" {
		t.Errorf("%v", units)
	}
}

// TestFindAmongManyLinks makes a few directories that link to each other, which have more paths
// than can be visited.
func TestFindAmongManyLinks(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		for k := range 12 {
			link(t, fmt.Sprintf("../%d", k), dir, fmt.Sprintf("%d/%d", i, k))
		}
		check(t, os.WriteFile(fmt.Sprintf("%s/%d/p.rpm", dir, i), nil, 0o644))
	}
	units, err := Find([]string{dir}, "")
	if err != nil || len(units) != 12 {
		t.Errorf("%d packages, %v", len(units), err)
	}
	if _, err := Find([]string{dir}, "out"); !errors.Is(err, errManyLinks) {
		t.Error(err)
	}
}

func TestMakeDirs(t *testing.T) {
	dir := t.TempDir()
	check(t, MakeDirs([]Unit{{Path: "a", Output: dir + "/x/y/a"}, {Path: "b", Output: dir + "/x/b"}, {Path: "c"}}))
	if made, err := os.ReadDir(dir + "/x"); err != nil || len(made) != 1 || made[0].Name() != "y" {
		t.Error(made, err)
	}
	check(t, os.WriteFile(dir+"/file", nil, 0o644))
	if err := MakeDirs([]Unit{{Path: "a", Output: dir + "/file/a"}}); err == nil {
		t.Error("a directory below a file")
	}
}
