package imagesign

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// TestOutputs signs to files of all kinds. All have the same content.
func TestOutputs(t *testing.T) {
	l := newLab(t)
	image := l.image("image", l.small(), "-t ext4 -b 4096")
	l.signed("--jobs", "1", image, "-o", "one")
	want := l.sum(l.path("one"))
	same := func(what, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s has another content", what)
		}
	}
	l.signed("--jobs", "4", image, "-o", "four")
	same("--jobs 4", l.sum(l.path("four")))
	if blocks(t, l.path("four")) > 2*blocks(t, image) {
		t.Error("holes are not kept")
	}
	l.signed("four", "-o", "again") // nothing is to be done
	same("a second signing", l.sum(l.path("again")))
	check(t, os.WriteFile(l.path("read only"), nil, 0o444))
	check(t, os.Chown(l.path("read only"), user, user))
	l.signed(image, "-o", "read only")
	same("a read-only file", l.sum(l.path("read only")))
	if info, err := os.Stat(l.path("read only")); err != nil || info.Mode() != 0o444 {
		t.Errorf("a read-only file: %v, %v", info.Mode(), err)
	}
	l.signed(image, "-o", "out.gz")
	l.signed("out.gz", "-o", "odd?offset=1 name")
	same("from .gz", l.sum(l.path("odd?offset=1 name")))
	harness.Must(t, "sh", "-c", "gunzip -c "+l.path("out.gz")+" >"+l.path("unpacked"))
	same(".gz", l.sum(l.path("unpacked")))
	cmd := l.command("/nowhere", l.arguments("-", "-o", "-")...)
	in, err := os.Open(image)
	check(t, err)
	defer in.Close()
	out, err := os.Create(l.path("stdout"))
	check(t, err)
	defer out.Close()
	cmd.Stdin, cmd.Stdout = in, out
	if r := harness.RunCommand(t, cmd); r.Code != 0 {
		t.Errorf("a pipe: %s", r.Err)
	}
	same("standard output", l.sum(l.path("stdout")))
	l.signed(image, "-o", image)
	same("in place", l.sum(image))
	if info, err := os.Stat(image); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("in place: %v, %v", info.Mode(), err)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Stat(path, &st))
	return st.Blocks
}

// TestPartitions signs file systems in partitions, together, and leaves everything else as
// it is. evmctl verifies the files.
func TestPartitions(t *testing.T) {
	l := newLab(t)
	tree := l.small()
	check(t, os.Mkdir(filepath.Join(tree, "data"), 0o755))
	root := l.image("root", tree, "-t ext4 -b 4096")
	l.image("data", l.small(), "-t ext3 -b 1024 -I 512")
	check(t, os.WriteFile(l.path("disk"), nil, 0o600))
	check(t, os.Truncate(l.path("disk"), 120<<20))
	script := "label: gpt\nstart=2048,size=98304,name=root\nstart=100352,size=98304,name=data\nstart=198656,size=2048,name=other\n"
	cmd := strings.NewReplacer("DIR", l.dir, "SCRIPT", script).Replace(`cd DIR; printf 'SCRIPT' | sfdisk -q disk
dd if=root of=disk seek=2048 conv=notrunc,sparse status=none; dd if=data of=disk seek=100352 conv=notrunc,sparse status=none
printf other | dd of=disk seek=198656 conv=notrunc status=none; chown 4711 disk`)
	harness.Must(t, "sh", "-ec", cmd)
	l.signed("--partition", "root", "--partition", "data:/data", "disk", "-o", "both")
	l.signed(root, "-o", "root.signed")
	l.signed("--partition", "2", "both", "-o", "again")
	for name, part := range map[string]string{"root": "skip=2048 count=98304", "data": "skip=100352 count=98304", "other": "skip=198656 count=2048"} {
		harness.Must(t, "sh", "-ec", "cd "+l.dir+"; dd if=both of="+name+".part "+part+" status=none")
	}
	harness.Must(t, "cmp", l.path("root.part"), l.path("root.signed"))
	harness.Must(t, "cmp", l.path("both"), l.path("again"))
	harness.Must(t, "e2fsck", "-fn", l.path("data.part"))
	if b, err := os.ReadFile(l.path("other.part")); err != nil || !strings.HasPrefix(string(b), "other\x00") {
		t.Errorf("the other partition: %.8q, %v", b, err)
	}
	for _, part := range []string{"root.part", "data.part"} {
		mounted := imagetree.Mount(t, l.path(part))
		files := []string{filepath.Join(mounted, "file"), filepath.Join(mounted, "full")}
		if bad := harness.Refused(t, filepath.Join(l.keys, "x509_ima.der"), files); bad != nil {
			t.Errorf("evmctl refuses %q", bad)
		}
	}
}
