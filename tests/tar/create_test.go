package tar

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestCreate makes an archive of a signed tree. Both programs must extract the same tree,
// and `tar --compare` must find no difference.
func TestCreate(t *testing.T) {
	keys, tree := newKeys(t), special(t)
	unsigned := filepath.Join(t.TempDir(), "unsigned.tar")
	onTheWay := filepath.Join(t.TempDir(), "way.tar")
	harness.Must(t, harness.Program(t), "tar", "create", tree, "-o", unsigned)
	compare(t, unsigned, tree)
	keys.sign(t, []string{"tar", "create", "--sign"}, tree, "-o", onTheWay)
	if strings.Contains(harness.Xattrs(t, tree), "security.ima") {
		t.Fatal("creating an archive signed the tree")
	}
	harness.Sign(t, string(keys), tree)
	archive := filepath.Join(t.TempDir(), "tree.tar")
	harness.Must(t, harness.Program(t), "tar", "create", tree, "-o", archive)
	if read(t, archive) != read(t, onTheWay) {
		t.Error("signing on the way gives another archive than signing before")
	}
	dir := accepted(t, keys, archive)
	compare(t, archive, tree)
	if d := difference(harness.Xattrs(t, tree), harness.Xattrs(t, dir)); d != "" {
		t.Errorf("extracted xattrs are not the tree's:\n%s", d)
	}
	if d := difference(list(t, tree), list(t, dir)); d != "" {
		t.Errorf("what is extracted is not the tree:\n%s", d)
	}
}

// TestCreateIsReproducible makes archives of equal trees that were made in a different
// order, at different times, and with other inode numbers.
func TestCreateIsReproducible(t *testing.T) {
	tree := special(t)
	dir := t.TempDir()
	copied := filepath.Join(dir, "copy")
	harness.Must(t, "sh", "-c", `mkdir "$1" && cd "$0" && find . -print0 | sort -zr | cpio -0 --quiet -pdm "$1" && tar -cf - --xattrs --xattrs-include='*' . | tar -xpf - --xattrs --xattrs-include='*' -C "$1"`, tree, copied)
	check(t, os.Chtimes(filepath.Join(copied, "empty"), time.Now(), time.Now()))
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	var first string
	for i, from := range []string{tree, copied, tree} {
		out := filepath.Join(dir, string(rune('a'+i))+".tar")
		harness.Must(t, harness.Program(t), "tar", "create", "--jobs", string(rune('1'+i)), from, "-o", out)
		text := read(t, out)
		if i == 0 {
			first = text
		}
		if text != first {
			t.Errorf("archive %d is another one", i)
		}
	}
	names := harness.Must(t, "tar", "--quoting-style=literal", "--exclude=new*", "-tf", filepath.Join(dir, "a.tar"))
	sorted := harness.Must(t, "sh", "-c", `printf %s "$0" | sed 's,/$,,' | LC_ALL=C sort -c`, names)
	if sorted != "" || !strings.Contains(names, "./dir/sub/") {
		t.Errorf("not in order: %s", sorted)
	}
	if strings.Contains(first, "atime=") || strings.Contains(first, "ctime=") || !strings.Contains(first, "SCHILY.xattr.security.capability=") {
		t.Error("the records are not those wanted")
	}
}

func TestCreateLeavesSocketsOut(t *testing.T) {
	harness.Root(t)
	tree, out := t.TempDir(), filepath.Join(t.TempDir(), "out.tar")
	l, err := net.Listen("unix", filepath.Join(tree, "socket"))
	check(t, err)
	defer l.Close()
	r := harness.Run(t, harness.Program(t), "tar", "create", tree, "-o", out)
	if r.Code != 0 || !strings.Contains(r.Err, "socket is a socket") || harness.Must(t, "tar", "-tf", out) != "./\n" {
		t.Errorf("exit %d\n%s", r.Code, r.Err)
	}
}

// TestSelection signs some files, among them a hard link whose first name is not selected.
func TestSelection(t *testing.T) {
	keys, tree, dir := newKeys(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"afirst", "other", "run"} {
		write(t, filepath.Join(tree, name), name)
	}
	check(t, os.Chmod(filepath.Join(tree, "run"), 0o755))
	check(t, os.Link(filepath.Join(tree, "afirst"), filepath.Join(tree, "zlast")))
	out := filepath.Join(dir, "out.tar")
	keys.sign(t, []string{"tar", "create", "--sign"}, "--include=/zlast", "--include=/run", tree, "-o", out)
	for program := range extractors {
		x := extracted(t, program, out)
		var files []string
		for _, name := range []string{"afirst", "run", "zlast", "other"} {
			files = append(files, filepath.Join(x, name))
		}
		if bad := harness.Refused(t, filepath.Join(string(keys), "x509_ima.der"), files); len(bad) != 1 || filepath.Base(bad[0]) != "other" {
			t.Errorf("%s: evmctl refuses %q", program, bad)
		}
	}
}

// TestCreateLinksWithoutASCII makes an archive whose first link has a target that
// archive/tar leaves out of the header. bsdtar turns a link without a target into a file.
func TestCreateLinksWithoutASCII(t *testing.T) {
	keys, tree := newKeys(t), t.TempDir()
	write(t, filepath.Join(tree, "file"), "content")
	for name, target := range map[string]string{"a": "漢", "b": "é", "c": "\xe9\xe8", "d": strings.Repeat("漢", 60), "e": "file"} {
		check(t, os.Symlink(target, filepath.Join(tree, name)))
	}
	out := filepath.Join(t.TempDir(), "out.tar")
	keys.sign(t, []string{"tar", "create", "--sign"}, tree, "-o", out)
	t.Setenv("LC_ALL", "C.UTF-8")
	for program := range extractors {
		if d := difference(list(t, tree), list(t, extracted(t, program, out))); d != "" {
			t.Errorf("%s extracts another tree:\n%s", program, d)
		}
	}
	harness.Must(t, harness.Program(t), "tar", "verify", "--cert", keys.certificate(), out)
}
