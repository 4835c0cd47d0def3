package bitbake

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// wicProject installs wic from the checkout in WIC_DIR, for releases whose OE-core does
// not include it.
func (l *lab) wicProject(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat(l.path("oe-core/scripts/lib/wic")); err == nil {
		return ""
	}
	project := os.Getenv("WIC_DIR")
	if project == "" {
		t.Skipf("NOT RUN: the wic of %s is a project of its own, and WIC_DIR names no checkout", l.release)
	}
	harness.Must(t, "cp", "-r", filepath.Join(project, "src"), l.path("wic"))
	write(t, l.path("bin/wic"), "#!/bin/sh\nPYTHONPATH="+l.path("wic")+" exec python3 -m wic.cli \"$@\"\n")
	// Debian 12's sfdisk does not know this option.
	write(t, l.path("bin/sfdisk"), "#!/bin/sh\n[ \"$1 $2\" != '--sector-size 512' ] || shift 2\nexec /usr/sbin/sfdisk \"$@\"\n")
	return " wic"
}

// wic makes a disk image.
func (l *lab) wic(t *testing.T) {
	tools := l.wicProject(t)
	write(t, l.path("meta-test/test.wks"), "part / --source rootfs --fstype=ext4 --label root --align 1024\npart /data --fstype=ext4 --fixed-size 8M --label data\nbootloader --ptable gpt\n")
	setup := evmOn + "TEST_FSTYPES = \"wic\"\nWKS_FILE = \"" + l.path("meta-test/test.wks") + "\"\nWKS_FILE_DEPENDS = \"\"\nASSUME_PROVIDED += \"syslinux\"\nHOSTTOOLS += \"" + wicTools + tools + "\"\n"
	l.build(t, setup, "test-image")
	dir := t.TempDir()
	harness.Must(t, "mount", "-o", "loop,ro,offset=1048576", l.path(filepath.Join(images, image+".wic")), dir)
	defer harness.Must(t, "umount", dir)
	want := l.manifest(t)
	if err := os.Remove(filepath.Join(dir, "lost+found")); err == nil {
		t.Error("mounted for writing")
	}
	verifyTree(t, dir, l.path("keys/x509_ima.der"), want)
	l.verifyEVM(t, dir, l.path("keys/x509_evm.der"))
	t.Run("fstab without its signature", func(t *testing.T) {
		// This is what wic does without --no-fstab-update. Here wic itself then fails, because
		// debugfs leaves an error that its fsck corrects.
		l.inRecipe(t, "IMAGE_CMD:wic:append () {\n\tdebugfs -w -R 'ea_rm /etc/fstab security.ima' \"$out.wic?offset=1048576\"\n}\n", func() {
			r := l.bitbake(t, setup, "test-image")
			if r.Code == 0 || !strings.Contains(r.Out, "was written after signing") {
				t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
			}
		})
	})
}
