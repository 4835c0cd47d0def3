// Package pseudo tests signing by an unprivileged user under pseudo and fakeroot. Owners,
// modes and devices that they pretend must be seen and kept. Image builders and evmctl
// judge the results.
package pseudo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// tree makes rootfs under pseudo or fakeroot. One of its names is not UTF-8, and one has
// 255 bytes.
const tree = `
mkdir -p rootfs/etc rootfs/bin rootfs/dev rootfs/var/secret rootfs/usr/lib
cd rootfs
echo root:x > etc/shadow; chown 0:42 etc/shadow; chmod 0400 etc/shadow
cp /bin/true bin/su; chmod 4755 bin/su
cp /bin/true bin/owned; chown 1234:4321 bin/owned
echo none > etc/zero; chmod 0000 etc/zero
: > etc/empty
echo linked > usr/lib/one; ln usr/lib/one usr/lib/two; chown 7:7 usr/lib/one
ln -s /etc/passwd etc/link; ln -s usr/lib lib; ln -s nowhere dangling
mknod dev/null c 1 3; chmod 0666 dev/null; mknod dev/sda b 8 0; chown 0:6 dev/sda; mkfifo dev/fifo
echo long > "$(printf "%0255d" 0)"
echo odd > "$(printf 'odd-\377\376')"
echo newline > "$(printf 'new\nline')"
echo secret > var/secret/file; chown 33:33 var/secret var/secret/file; chmod 0600 var/secret/file; chmod 0700 var/secret
echo hidden > var/file; chmod 2750 var; chmod 1777 usr
cd ..
`

const names = 12 // names of regular files, which have eleven inodes

// survey prints the names of a tree with their types, modes, owners, device numbers, link
// targets and security xattrs.
const survey = `
list() { find . -mindepth 1 ! -name lost+found -print0 | sort -z; }
list | xargs -0 stat -c '%N %F %a %u:%g %t:%T'
list | xargs -0 getfattr -h -d -m '^security' -e hex --
`

const keys = "--progress=none --key keys/x509_ima.key --cert keys/x509_ima.crt"

// newTree gives a builder keys and, under pseudo, the tree.
func newTree(t *testing.T, algorithm string) *harness.Builder {
	t.Helper()
	b := harness.NewBuilder(t)
	b.OK(b.Run("imasign-build key init --algorithm " + algorithm + " keys"))
	b.OK(b.Pseudo(tree))
	return b
}

// signatures counts the signatures in the output of survey.
func signatures(survey string) int { return strings.Count(survey, "\nsecurity.ima=0x03") }

// TestImagesCarryWhatWasSigned signs under pseudo, restarts pseudo, and makes an image
// with each image builder. For root without pseudo, each image must contain the signed
// tree.
func TestImagesCarryWhatWasSigned(t *testing.T) {
	for _, tool := range []string{"tar", "mkfs.ext4", "mksquashfs", "mkfs.erofs", "mount"} {
		harness.Tool(t, tool)
	}
	for _, algorithm := range []string{"rsa2048", "p256"} {
		t.Run(algorithm, func(t *testing.T) {
			b := newTree(t, algorithm)
			before := b.OK(b.Pseudo("cd rootfs" + survey))
			b.OK(b.Pseudo("imasign-build rootfs sign " + keys + " rootfs"))
			b.StopPseudo()
			want := b.OK(b.Pseudo("cd rootfs" + survey))
			if n := signatures(want); n != names {
				t.Fatalf("%d names are signed, not %d", n, names)
			}
			modes, _, _ := strings.Cut(want, "# file")
			same(t, "the tree before it was signed", before, modes)
			b.OK(b.Pseudo(`tar --xattrs --xattrs-include='*' -cf image.tar -C rootfs .
truncate -s 16M image.ext4; mkfs.ext4 -q -d rootfs image.ext4
mksquashfs rootfs image.squashfs -quiet -no-progress
`))
			// mkfs.erofs 1.5 fails for names of 255 bytes.
			short := b.OK(b.Pseudo(`rm rootfs/$(printf "%0255d" 0); mkfs.erofs --quiet image.erofs rootfs >&2; cd rootfs` + survey))
			b.StopPseudo()
			extracted := t.TempDir()
			harness.Must(t, "tar", "--xattrs", "--xattrs-include=*", "-xpf", b.Path("image.tar"), "-C", extracted)
			judge(t, b, extracted, want)
			for _, image := range []string{"image.ext4", "image.squashfs"} {
				judge(t, b, mount(t, b.Path(image)), want)
			}
			judge(t, b, mount(t, b.Path("image.erofs")), short)
			control := filepath.Join(extracted, "etc/shadow")
			if err := os.WriteFile(control, []byte("tampered"), 0); err != nil {
				t.Fatal(err)
			}
			if accepts(t, b, control) {
				t.Error("evmctl accepts a tampered file: its word proves nothing")
			}
		})
	}
}

// TestTarCreate checks that our archive of a tree under pseudo equals that of GNU tar,
// whether the tree was signed before or while the archive is written.
func TestTarCreate(t *testing.T) {
	for _, c := range []struct{ name, before, create string }{
		{"signed before", "imasign-build rootfs sign " + keys + " rootfs", "imasign-build tar create -o image.tar rootfs"},
		{"signed on the way", "true", "imasign-build tar create --sign " + keys + " -o image.tar rootfs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTree(t, "p256")
			b.OK(b.Pseudo(c.before))
			b.StopPseudo()
			b.OK(b.Pseudo(c.create))
			b.StopPseudo()
			b.OK(b.Pseudo("imasign-build rootfs sign " + keys + " rootfs")) // signatures by P-256 file keys are reproducible
			want := b.OK(b.Pseudo("cd rootfs" + survey))
			extracted := t.TempDir()
			harness.Must(t, "tar", "--warning=no-unknown-keyword", "--xattrs", "--xattrs-include=*", "-xpf", b.Path("image.tar"), "-C", extracted)
			judge(t, b, extracted, want)
		})
	}
}

// mount mounts an image until the test ends.
func mount(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	harness.Must(t, "mount", "-o", "loop,ro", image, dir)
	t.Cleanup(func() { harness.Must(t, "umount", dir) })
	return dir
}

// judge checks, as root outside of pseudo, that dir is the surveyed tree and that evmctl
// accepts every file.
func judge(t *testing.T, b *harness.Builder, dir, want string) {
	t.Helper()
	got := harness.Must(t, "env", "LC_ALL=C", "sh", "-euc", "cd "+dir+survey)
	same(t, "the image", got, want)
	files := harness.Files(t, dir)
	if signed := signatures(want); len(files) != signed {
		t.Errorf("%d names of files, %d are signed", len(files), signed)
	}
	for _, file := range files {
		if !accepts(t, b, file) {
			t.Errorf("evmctl refuses %q", file)
		}
	}
}

// same compares two texts and reports the first line that differs.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	have, wanted := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(have), len(wanted)) {
		if have[i] != wanted[i] {
			t.Errorf("%s: line %d is\n%.200s\nnot\n%.200s", what, i+1, have[i], wanted[i])
			return
		}
	}
	if len(have) != len(wanted) {
		t.Errorf("%s: %d lines instead of %d", what, len(have), len(wanted))
	}
}

func accepts(t *testing.T, b *harness.Builder, file string) bool {
	t.Helper()
	return harness.Run(t, "evmctl", "ima_verify", "--key", b.Path("keys/x509_ima.der"), file).Code == 0
}
