// Package tar compares signed, created and stripped archives with GNU tar, bsdtar,
// Python's tarfile and evmctl. They must extract our archives, and we must read theirs.
package tar

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	check(t, os.WriteFile(file, []byte(text), 0o644))
}

func read(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	return string(text)
}

// keySet is the directory of a key set.
type keySet string

func newKeys(t testing.TB) keySet {
	t.Helper()
	harness.Root(t)
	return keySet(harness.Keys(t, "p256"))
}

func (k keySet) certificate() string { return filepath.Join(string(k), "x509_ima.crt") }

// sign runs a signing command with the key of the key set.
func (k keySet) sign(t testing.TB, command []string, args ...string) {
	t.Helper()
	flags := []string{"--progress=none", "--key", filepath.Join(string(k), "x509_ima.key"), "--cert", k.certificate()}
	harness.Must(t, harness.Program(t), append(append(command, flags...), args...)...)
}

func (k keySet) signTar(t testing.TB, in, out string, args ...string) {
	t.Helper()
	k.sign(t, []string{"tar", "sign"}, append(args, in, "-o", out)...)
}

// extractors extract an archive, with its xattrs, below a directory.
var extractors = map[string]func(archive, dir string) *exec.Cmd{
	"GNU tar": func(archive, dir string) *exec.Cmd {
		return exec.Command("tar", "--xattrs", "--xattrs-include=*", "--acls", "--warning=no-unknown-keyword", "--numeric-owner", "-xpf", archive, "-C", dir)
	},
	"bsdtar": func(archive, dir string) *exec.Cmd {
		return exec.Command("bsdtar", "--numeric-owner", "-xpf", archive, "-C", dir)
	},
}

// extracted extracts an archive with a program, which must print no warnings.
func extracted(t testing.TB, program, archive string) string {
	t.Helper()
	harness.Tool(t, "bsdtar")
	dir := t.TempDir()
	r := harness.RunCommand(t, extractors[program](archive, dir))
	complaint := ""
	for line := range strings.Lines(r.Err) {
		// bsdtar prints these for every archive with a name that is not UTF-8.
		if !strings.Contains(line, "Linkname can't be converted") && !strings.Contains(line, "Pathname can't be converted") && !strings.Contains(line, "Error exit delayed") {
			complaint += line
		}
	}
	if complaint != "" || r.Code != 0 && r.Err == "" {
		t.Errorf("%s: exit %d\n%s", program, r.Code, complaint)
	}
	return dir
}

// accepted extracts the archive with both programs. They must extract the same files and
// xattrs, evmctl must accept every regular file, and GNU tar must print no warnings. It
// returns GNU tar's directory.
func accepted(t testing.TB, keys keySet, archive string) string {
	t.Helper()
	dir, other := extracted(t, "GNU tar", archive), extracted(t, "bsdtar", archive)
	files := harness.Files(t, dir)
	if len(files) == 0 {
		t.Fatal("nothing was extracted")
	}
	if bad := harness.Refused(t, filepath.Join(string(keys), "x509_ima.der"), files); len(bad) > 0 {
		t.Errorf("evmctl refuses %d of %d, first %q", len(bad), len(files), bad[0])
	}
	if a, b := harness.Xattrs(t, dir), harness.Xattrs(t, other); a != b {
		t.Errorf("GNU tar and bsdtar leave different xattrs:\n%s", difference(a, b))
	}
	if a, b := list(t, dir), list(t, other); a != b {
		t.Errorf("GNU tar and bsdtar extract different files:\n%s", difference(a, b))
	}
	compare(t, archive, dir)
	return dir
}

// difference returns the lines that only one of the texts has.
func difference(a, b string) string {
	var out strings.Builder
	for sign, pair := range map[string][2]string{"-": {a, b}, "+": {b, a}} {
		lines := strings.Split(pair[1], "\n")
		for line := range strings.SplitSeq(pair[0], "\n") {
			if !slices.Contains(lines, line) {
				out.WriteString(sign + " " + line + "\n")
			}
		}
	}
	return out.String()
}

// list returns the metadata and contents of all files below dir. It leaves out the times
// of directories, which GNU tar does not restore if hard links come late.
func list(t testing.TB, dir string) string {
	t.Helper()
	return harness.Must(t, "sh", "-c", `cd "$0" && find . -mindepth 1 -printf '%P %y %m %U %G ' \( -type d -printf '\n' -o -printf '%s %T@ %l %n\n' \) | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum`, dir)
}

func compare(t testing.TB, archive, dir string) {
	t.Helper()
	r := harness.Run(t, "tar", "--compare", "--warning=no-unknown-keyword", "--numeric-owner", "-f", archive, "-C", dir)
	if r.Code != 0 || r.Out+r.Err != "" {
		t.Errorf("tar --compare: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
}

// special makes a tree of files that tar treats specially.
func special(t testing.TB) string {
	t.Helper()
	harness.Root(t)
	tree := filepath.Join(t.TempDir(), "tree")
	in := func(name string) string { return filepath.Join(tree, name) }
	check(t, os.MkdirAll(in("dir/sub"), 0o755))
	for name, text := range map[string]string{
		"dir/one": "one", "empty": "", "setuid": "#!/bin/sh\n", "dir/capable": "capable", "caf\xe9": "not UTF-8",
		"grüße": "UTF-8", strings.Repeat("n", 150): "a long name", "new\nline": "two lines", "listed": "ACL", "block": strings.Repeat("x", 512),
	} {
		write(t, in(name), text)
	}
	deep := in(strings.Repeat("deep/", 60))
	check(t, os.MkdirAll(deep, 0o755))
	write(t, filepath.Join(deep, "file"), "a long path")
	for _, err := range []error{
		os.Chmod(in("setuid"), 0o4755|os.ModeSetuid),
		os.Chown(in("dir/one"), 1234, 3_000_000), // too large for the octal digits
		os.Link(in("dir/one"), in("linked")),
		os.Link(in("dir/one"), in("zlinked")),
		os.Symlink("dir/one", in("symlink")),
		os.Symlink(strings.Repeat("t", 200), in("longlink")),
		os.Symlink("caf\xe9", in("latin")),
		syscall.Mkfifo(in("fifo"), 0o644),
		syscall.Mknod(in("null"), syscall.S_IFCHR|0o666, 1<<8|3),
		syscall.Mknod(in("disk"), syscall.S_IFBLK|0o600, 8<<8|1),
	} {
		check(t, err)
	}
	f, err := os.Create(in("sparse"))
	check(t, err)
	for i := range int64(40) { // more segments than fit into a header
		_, err = f.WriteAt([]byte("data"), (i+1)*300_000)
		check(t, err)
	}
	check(t, f.Truncate(20_000_000))
	check(t, f.Close())
	harness.Must(t, harness.Tool(t, "setcap"), "cap_net_raw,cap_sys_admin+ep", in("dir/capable"))
	harness.Must(t, "setfattr", "-n", "user.note", "-v", "0x610a003d25", in("dir/one"))
	harness.Must(t, "setfattr", "-n", "user.directory", "-v", "d", in("dir"))
	harness.Must(t, harness.Tool(t, "setfacl"), "-m", "u:1234:r,g:4321:rw", in("listed"))
	harness.Must(t, "setfacl", "-d", "-m", "u:1234:rx", in("dir/sub"))
	return tree
}
