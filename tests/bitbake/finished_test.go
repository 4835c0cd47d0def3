package bitbake

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// finishedImages checks that images are read after they were made.
func (l *lab) finishedImages(t *testing.T) {
	types := "ext2 ext3 ext4 ext4.gz ext4.xz ext4.zst squashfs squashfs-xz squashfs-lz4 squashfs-zst erofs erofs-lz4 erofs-lz4hc tar tar.gz tar.zst"
	l.build(t, evmOn+"IMASIGN_VERIFY_IMAGE = \"require\"\nTEST_FSTYPES = \""+types+"\"\n", "test-image")
	for fstype := range strings.FieldsSeq(types) {
		l.verified(t, fstype, "")
	}
	t.Run("altered", func(t *testing.T) {
		for _, fstype := range []string{"ext4", "erofs", "tar"} {
			l.altered(t, fstype, "TEST_FSTYPES = \""+fstype+"\"\n")
		}
	})
	t.Run("converted", func(t *testing.T) { // the image itself is deleted
		l.build(t, "TEST_FSTYPES = \"ext4.zst\"\n", "test-image")
		l.verified(t, "ext4.zst", "")
		l.altered(t, "ext4", "TEST_FSTYPES = \"ext4.gz\"\n")
	})
	t.Run("not read", func(t *testing.T) {
		l.build(t, "TEST_FSTYPES = \"tar btrfs jffs2\"\n", "test-image")
		for _, fstype := range []string{"btrfs", "jffs2"} {
			if log := l.taskLog(t, fstype); !strings.Contains(log, "not verified after it was made: images of type "+fstype) {
				t.Errorf("%s", log)
			}
		}
	})
	t.Run("off", func(t *testing.T) {
		l.build(t, "TEST_FSTYPES = \"ext4\"\nIMASIGN_VERIFY_IMAGE = \"0\"\n", "test-image")
		if log := l.taskLog(t, "ext4"); strings.Contains(log, "imasign-build image verify") {
			t.Error("verified")
		}
	})
	t.Run("later build", l.laterBuild)
	l.required(t)
}

// required checks what IMASIGN_VERIFY_IMAGE = "require" refuses, before anything is built.
func (l *lab) required(t *testing.T) {
	t.Helper()
	for types, says := range map[string]string{
		"tar jffs2":      "images of type jffs2",
		"ubifs":          "images of type ubifs",
		"ext4.gz.vmdk":   "images of type ext4.gz.vmdk",
		"tar cpio":       "an image of type cpio keeps no xattrs",
		"squashfs-lzo":   "images of type squashfs-lzo",
		"ext4 ext4.vmdk": "",
	} {
		r := l.bitbake(t, "IMASIGN_VERIFY_IMAGE = \"require\"\nTEST_FSTYPES = \""+types+"\"\n", "-e", "test-image")
		if (r.Code == 0) != (says == "") || !strings.Contains(r.Out, says) {
			t.Errorf("%s: exit %d, want %q:\n%s", types, r.Code, says, tail(r.Out))
		}
	}
	if r := l.bitbake(t, "IMASIGN_VERIFY_IMAGE = \"yes\"\n", "-e", "test-image"); r.Code == 0 || !strings.Contains(r.Out, "set it to 1, require or 0") {
		t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
	}
}

// laterBuild makes an image from a tree that an earlier build signed. Its name has the time
// of the build.
func (l *lab) laterBuild(t *testing.T) {
	extra := "TEST_FSTYPES = \"ext4\"\nIMAGE_VERSION_SUFFIX = \"-${DATETIME}\"\n"
	l.build(t, extra, "test-image")
	r := l.bitbake(t, extra, "-f", "-c", "image_ext4", "test-image") // warns that it was forced
	if r.Code != 0 || !r.ran("test-image:do_image_ext4") || r.ran("test-image:do_image") {
		t.Errorf("exit %d, %v:\n%s", r.Code, r.tasks, tail(r.Out))
	}
	if log := l.taskLog(t, "ext4"); !strings.Contains(log, "imasign-build image verify") {
		t.Errorf("not verified:\n%s", log)
	}
}

// altered changes one byte of a file in an image before the image is verified.
func (l *lab) altered(t *testing.T, fstype, extra string) {
	t.Helper()
	l.inRecipe(t, `alter() {
	file=${IMGDEPLOYDIR}/${IMAGE_NAME}.`+fstype+`
	[ -e $file ] || { file=$file.gz; gunzip $file; file=${file%.gz}; zip=1; }
	at=$(grep -abo 'data 7' $file | head -n 1 | cut -d : -f 1)
	printf X | dd of=$file bs=1 seek=$at conv=notrunc
	[ -z "$zip" ] || gzip $file
}
do_image_`+fstype+`[postfuncs] += "alter"
`, func() {
		r := l.bitbake(t, extra, "test-image")
		if r.Code == 0 || !strings.Contains(r.Out, "bad       usr/share/test/f7: ") || strings.Count(r.Out, "bad       ") != 1 || r.ran("test-image:do_image_complete") {
			t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
		}
	})
}

// taskLog returns the log of the last run of an image type's task.
func (l *lab) taskLog(t *testing.T, fstype string) string {
	t.Helper()
	base, _, _ := strings.Cut(fstype, ".")
	found, err := filepath.Glob(l.path("build/tmp/work/*/test-image/*/temp/log.do_image_" + strings.ReplaceAll(base, "-", "_")))
	if err != nil || len(found) != 1 {
		t.Fatalf("logs of do_image_%s: %v, %v", base, found, err)
	}
	return read(t, found[0])
}

// verified checks that an image was read after it was made, once with each of these flags, and
// that it has the files of the manifest.
func (l *lab) verified(t *testing.T, fstype string, flags ...string) {
	t.Helper()
	command := "image"
	if strings.HasPrefix(fstype, "tar") {
		command = "tar"
	}
	signed := 0
	for _, value := range l.manifest(t) {
		if len(value) > 0 {
			signed++
		}
	}
	log := l.taskLog(t, fstype)
	var runs []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "running imasign-build "+command+" verify ") && strings.HasSuffix(strings.TrimSpace(line), "."+fstype) {
			runs = append(runs, line)
		}
	}
	if len(runs) != len(flags) || slices.ContainsFunc(flags, func(f string) bool {
		return !slices.ContainsFunc(runs, func(r string) bool { return strings.Contains(r, f) })
	}) {
		t.Errorf("%s: verified by %q, want %q", fstype, runs, flags)
	}
	if ok := fmt.Sprintf(".%s: %d ok, 0 hashed, 0 unsigned, 0 bad", fstype, signed); strings.Count(log, ok) != len(flags) {
		t.Errorf("%s: not %d times %q in\n%s", fstype, len(flags), ok, log)
	}
}
