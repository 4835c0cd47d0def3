package tar

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// longNames makes a tree of names and link targets that are too long for a header.
func longNames(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	for i := range 60 {
		dir := filepath.Join(tree, strings.Repeat(fmt.Sprint("directory-", i, "/"), 1+i%11))
		check(t, os.MkdirAll(dir, 0o755))
		file := filepath.Join(dir, strings.Repeat("f", 20+3*i))
		write(t, file, fmt.Sprint("content ", i))
		check(t, os.Symlink(strings.Repeat("t", 60+4*i), filepath.Join(dir, "s"+strings.Repeat("y", 2*i))))
		if i%3 == 0 {
			check(t, os.Link(file, filepath.Join(dir, strings.Repeat("h", 30+2*i))))
		}
	}
	return tree
}

// readers extract an archive with its xattrs into a directory, each with another
// implementation of tar.
var readers = map[string]string{
	"GNU tar":  `tar --xattrs --xattrs-include='*' -xpf "$0" -C "$1"`,
	"bsdtar":   `bsdtar -xpf "$0" -C "$1"`,
	"tar2sqfs": `tar2sqfs -q -f "$1.sqfs" <"$0" && unsquashfs -n -d "$1" -f "$1.sqfs" >"$1.log" 2>&1`,
	"sqfstar":  `sqfstar -quiet -no-progress "$1.sqfs" <"$0" >"$1.log" 2>&1 && unsquashfs -n -d "$1" -f "$1.sqfs" >>"$1.log" 2>&1`,
}

// TestLongNames signs archives with GNU's long names and links. Each reader must find the
// same names as before, each with its signature.
func TestLongNames(t *testing.T) {
	keys, tree := newKeys(t), longNames(t)
	for _, tool := range []string{"bsdtar", "tar2sqfs", "sqfstar", "unsquashfs"} {
		harness.Tool(t, tool)
	}
	for name, script := range map[string]string{
		"GNU tar": `tar --format=gnu -cf "$0" *`,
		"bsdtar":  `bsdtar --format=gnutar -cf "$0" *`,
		"python":  `python3 -c 'import sys, tarfile; t = tarfile.open(sys.argv[1], "w", format=tarfile.GNU_FORMAT); [t.add(n) for n in sys.argv[2:]]; t.close()' "$0" *`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in, out, plain := filepath.Join(dir, "in.tar"), filepath.Join(dir, "out.tar"), filepath.Join(dir, "plain.tar")
			harness.Must(t, "sh", "-c", `cd "$1" && `+script, in, tree)
			keys.signTar(t, in, out)
			harness.Must(t, harness.Program(t), "tar", "strip", out, "-o", plain)
			if read(t, plain) != read(t, in) {
				t.Error("stripped, it is not what it was")
			}
			if d := difference(goNames(t, in), goNames(t, out)); d != "" {
				t.Errorf("archive/tar reads other names:\n%s", d)
			}
			want := list(t, extracted(t, "GNU tar", in))
			for reader, script := range readers {
				to := filepath.Join(dir, reader)
				check(t, os.Mkdir(to, 0o755))
				harness.Must(t, "sh", "-c", script, out, to)
				if d := difference(want, list(t, to)); d != "" {
					t.Errorf("%s reads another tree:\n%.2000s", reader, d)
				}
				if bad := harness.Refused(t, filepath.Join(string(keys), "x509_ima.der"), harness.Files(t, to)); len(bad) > 0 {
					t.Errorf("%s: evmctl refuses %d files, first %q", reader, len(bad), bad[0])
				}
			}
		})
	}
}

// goNames returns the names and link targets that archive/tar reads.
func goNames(t *testing.T, archive string) string {
	t.Helper()
	f, err := os.Open(archive)
	check(t, err)
	defer f.Close()
	var names []string
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return strings.Join(names, "\n")
		}
		check(t, err)
		names = append(names, fmt.Sprintf("%c %s -> %s", h.Typeflag, h.Name, h.Linkname))
	}
}
