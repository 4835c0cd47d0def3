package tar

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// makers make an archive of a tree in every dialect that the programs write. They leave
// out what the dialect cannot express.
var makers = map[string][]string{
	"v7":             {"tar", "--format=v7", "--exclude=deep", "--exclude=nnn*", "--exclude=longlink", "--exclude=fifo", "--exclude=null", "--exclude=disk", "--exclude=sparse", "--owner=0", "--group=0"},
	"ustar":          {"tar", "--format=ustar", "--exclude=deep", "--exclude=nnn*", "--exclude=longlink", "--exclude=sparse", "--group=0"},
	"oldgnu":         {"tar", "--format=oldgnu", "-S"},
	"gnu":            {"tar", "--format=gnu", "-S"},
	"gnu, 7 blocks":  {"tar", "--format=gnu", "-b7"},
	"pax 0.0":        {"tar", "--format=pax", "-S", "--sparse-version=0.0", "--xattrs", "--xattrs-include=*", "--acls"},
	"pax 0.1":        {"tar", "--format=pax", "-S", "--sparse-version=0.1", "--xattrs", "--xattrs-include=*"},
	"pax 1.0":        {"tar", "--format=pax", "-S", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*"},
	"pax global":     {"tar", "--format=pax", "--pax-option=comment=hello"},
	"bsdtar pax":     {"bsdtar", "--format=pax", "--no-acls"},
	"bsdtar ustar":   {"bsdtar", "--format=ustar", "--exclude=deep", "--exclude=nnn*", "--exclude=longlink", "--exclude=sparse", "--exclude=caf*", "--exclude=latin", "--gid=0"},
	"bsdtar gnutar":  {"bsdtar", "--format=gnutar", "--exclude=sparse"},
	"busybox":        {"busybox", "tar"},
	"python gnu":     {"python3", "-c", pythonTar, "GNU_FORMAT"},
	"python pax":     {"python3", "-c", pythonTar, "PAX_FORMAT"},
	"GNU tar, files": {"sh", "-c", `out=$1; cd "$3"; find . ! -type d -print0 | tar --format=gnu --null -T- -cf "$out"`},
}

const pythonTar = `
import sys, tarfile
with tarfile.open(sys.argv[3], "w", format=getattr(tarfile, sys.argv[1])) as t: t.add(sys.argv[5], ".")
`

// TestEveryDialect signs each program's archive of a tree, extracts it with two programs,
// and strips it again.
func TestEveryDialect(t *testing.T) {
	keys, tree := newKeys(t), special(t)
	harness.Tool(t, "bsdtar")
	for name, maker := range makers {
		t.Run(name, func(t *testing.T) {
			harness.Tool(t, maker[0])
			dir := t.TempDir()
			in, out, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar")
			made := harness.Run(t, maker[0], append(maker[1:], "-cf", in, "-C", tree, ".")...)
			if made.Code != 0 && !strings.Contains(made.Err, "Can't translate pathname") {
				t.Fatalf("exit %d\n%s", made.Code, made.Err)
			}
			unsigned := extracted(t, "GNU tar", in)
			keys.signTar(t, in, out)
			signed := accepted(t, keys, out)
			if d := difference(list(t, unsigned), list(t, signed)); d != "" {
				t.Errorf("what is extracted changed:\n%s", d)
			}
			if d := difference(harness.Xattrs(t, unsigned), withoutIMA(harness.Xattrs(t, signed))); d != "" {
				t.Errorf("other xattrs changed:\n%s", d)
			}
			harness.Must(t, harness.Program(t), "tar", "verify", "--cert", keys.certificate(), out)
			harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", plain)
			if read(t, plain) != read(t, in) {
				t.Error("stripped, it is not what it was")
			}
			harness.Must(t, harness.Tool(t, "python3"), "-c", "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]):\n  if m.isreg(): assert 'SCHILY.xattr.security.ima' in m.pax_headers, m.name", out)
		})
	}
}

// withoutIMA removes security.ima from a dump, and files that have no other xattr.
func withoutIMA(dump string) string {
	var blocks []string
	for block := range strings.SplitSeq(dump, "\n\n") {
		var lines []string
		for line := range strings.SplitSeq(block, "\n") {
			if !strings.HasPrefix(line, "security.ima=") {
				lines = append(lines, line)
			}
		}
		if len(lines) > 1 || block == "" {
			blocks = append(blocks, strings.Join(lines, "\n"))
		}
	}
	return strings.Join(blocks, "\n\n")
}

// TestStaleSignatures signs archives, by GNU tar and bsdtar, of a tree whose files changed
// after they were signed.
func TestStaleSignatures(t *testing.T) {
	keys, tree := newKeys(t), special(t)
	harness.Sign(t, string(keys), tree)
	write(t, filepath.Join(tree, "dir/one"), "changed") // it has three names
	write(t, filepath.Join(tree, "empty"), "changed")
	for name, maker := range map[string][]string{
		"GNU tar": makers["pax 1.0"], "bsdtar": makers["bsdtar pax"],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in, out, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar")
			harness.Run(t, maker[0], append(maker[1:], "-cf", in, "-C", tree, ".")...)
			r := harness.Run(t, harness.Program(t), "tar", "verify", "--json", "--cert", keys.certificate(), in)
			var report struct{ OK, Bad, Unsigned int }
			check(t, json.Unmarshal([]byte(r.Out), &report))
			if r.Code != 3 || report.Bad != 4 || report.Unsigned != 0 || report.OK < 9 {
				t.Errorf("verify: exit %d, %+v", r.Code, report)
			}
			keys.signTar(t, in, out)
			accepted(t, keys, out)
			harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", plain)
			for program := range extractors {
				if dump := harness.Xattrs(t, extracted(t, program, plain)); strings.Contains(dump, "security.ima") || !strings.Contains(dump, "security.capability") {
					t.Errorf("%s: stripped\n%s", program, dump)
				}
			}
		})
	}
}

// TestEveryCompression compresses and unpacks with the real programs, through files and a
// pipe.
func TestEveryCompression(t *testing.T) {
	keys, tree := newKeys(t), special(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar")
	harness.Must(t, "tar", "--format=gnu", "-S", "-cf", in, "-C", tree, ".")
	keys.signTar(t, in, out)
	want := read(t, out)
	for suffix, program := range map[string]string{"gz": "gzip", "xz": "xz", "zst": "zstd", "bz2": "bzip2", "lz4": "lz4"} {
		t.Run(program, func(t *testing.T) {
			harness.Tool(t, program)
			misnamed, packed := filepath.Join(dir, "in."+program), filepath.Join(dir, "out.tar."+suffix)
			harness.Must(t, "sh", "-c", program+" -c <"+in+" >"+misnamed)
			keys.signTar(t, misnamed, packed)
			if harness.Must(t, program, "-dc", packed) != want {
				t.Errorf("%s -d gives another archive", program)
			}
			harness.Must(t, harness.Program(t), "tar", "verify", "--cert", keys.certificate(), packed)
			script := `"$0" tar sign --progress=none --key "$1/x509_ima.key" --cert "$1/x509_ima.crt" - -o - | ` + program + ` -dc`
			cmd := exec.Command("sh", "-c", program+" -c <"+in+" | "+script, harness.Program(t), string(keys))
			if r := harness.RunCommand(t, cmd); r.Out != want {
				t.Errorf("a pipe gives another archive\n%s", r.Err)
			}
		})
	}
}

// TestRealTree signs an archive of 5,000 real files, or 18,000 with IMASIGN_NIGHTLY=1, and
// checks that nothing else changes.
func TestRealTree(t *testing.T) {
	files := 2_000
	if harness.Nightly() {
		files = 18_000
	}
	keys, tree, dir := newKeys(t), t.TempDir(), t.TempDir()
	// Small files, because the test writes seven copies of the tree.
	harness.Must(t, "sh", "-c", `cd /usr && find . -type f -size -64k -print0 | sort -z | head -zn "$1" | cpio -0 --quiet -pdm "$0"`, tree, strconv.Itoa(files))
	if n := len(harness.Files(t, tree)); n != files {
		t.Fatalf("this machine's /usr has only %d small files", n)
	}
	in, out, again, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "again.tar"), filepath.Join(dir, "plain.tar")
	harness.Must(t, "tar", "--format=gnu", "-cf", in, "-C", tree, ".")
	keys.signTar(t, in, out, "--jobs", "1")
	keys.signTar(t, in, again, "--jobs", "3")
	harness.Must(t, "cmp", out, again)
	harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", plain)
	harness.Must(t, "cmp", in, plain)
	check(t, exec.Command("rm", "-rf", tree, again, plain, in).Run())
	accepted(t, keys, out)
}
