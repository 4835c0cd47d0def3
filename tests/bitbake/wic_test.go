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
	harness.Executable(t, l.path("bin/wic"), []byte("#!/bin/sh\nPYTHONPATH="+l.path("wic")+" exec python3 -m wic.cli \"$@\"\n"))
	// Debian 12's sfdisk does not know this option.
	harness.Executable(t, l.path("bin/sfdisk"), []byte("#!/bin/sh\n[ \"$1 $2\" != '--sector-size 512' ] || shift 2\nexec /usr/sbin/sfdisk \"$@\"\n"))
	return " wic"
}

// wic makes disk images.
func (l *lab) wic(t *testing.T) {
	tools := l.wicProject(t)
	common := evmOn + "TEST_FSTYPES = \"wic\"\nWKS_FILE = \"" + l.path("meta-test/test.wks") + "\"\nWKS_FILE_DEPENDS = \"\"\nASSUME_PROVIDED += \"syslinux\"\nHOSTTOOLS += \"" + wicTools + tools + "\"\n"
	wks := func(text string) { write(t, l.path("meta-test/test.wks"), text) }
	wks("part / --source rootfs --fstype=ext4 --label root --align 1024\npart /data --fstype=ext4 --fixed-size 8M --label data\nbootloader --ptable gpt\n")
	l.build(t, common, "test-image")
	l.mountedWic(t)
	l.verified(t, "wic", "--partition 1:/")
	t.Run("altered", func(t *testing.T) { l.altered(t, "wic", common) })
	t.Run("several partitions", func(t *testing.T) {
		const parts = "part /a --size 1 --fstype=ext4\npart / --source rootfs --fstype=erofs --exclude-path usr/share/ var/cache\npart /c --size 1 --fstype=ext4\npart /d --size 1 --fstype=ext4\npart /usr/share --source rootfs --rootfs-dir=${IMAGE_ROOTFS}/usr/share --fstype=squashfs\npart --source rootfs --fstype=ext4\n"
		for table, want := range map[string][]string{
			"msdos": {"--partition 2:/ --partition 6:/usr/share --exclude-path /var/cache", "--partition 7:/ --partition 6:/usr/share"},
			"gpt":   {"--partition 2:/ --partition 5:/usr/share --exclude-path /var/cache", "--partition 6:/ --partition 5:/usr/share"},
		} {
			wks(parts + "bootloader --ptable " + table + "\n")
			l.build(t, common+"IMASIGN_VERIFY_IMAGE = \"require\"\n", "test-image")
			l.verified(t, "wic", want...)
		}
	})
	t.Run("fstab", func(t *testing.T) {
		wks("part / --source rootfs --fstype=erofs\npart /data --fstype=ext4 --size 1\n")
		r := l.bitbake(t, common+"WIC_CREATE_EXTRA_ARGS:remove = \"--no-fstab-update\"\n", "test-image")
		if r.Code == 0 || !strings.Contains(r.Out, "bad       etc/fstab: ") || !strings.Contains(r.Out, "etc/fstab: wic writes this file") {
			t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
		}
	})
	t.Run("other tree", func(t *testing.T) {
		wks("part / --source rootfs --fstype=ext4\npart /srv --source rootfs --rootfs-dir=" + l.path("home") + " --fstype=ext4\n")
		l.build(t, common, "test-image")
		l.verified(t, "wic", "--partition 1:/")
		r := l.bitbake(t, common+"IMASIGN_VERIFY_IMAGE = \"require\"\n", "test-image")
		if r.Code == 0 || !strings.Contains(r.Out, "test.wks:2: "+l.path("home")+" is not from this image") {
			t.Errorf("exit %d:\n%s", r.Code, tail(r.Out))
		}
		l.build(t, common+"IMASIGN_VERIFY_IMAGE = \"require\"\nIMASIGN_WIC_PARTITIONS = \"1:/\"\n", "test-image")
	})
}

// mountedWic checks the first partition, an ext4 file system at 1 MiB, with evmctl.
func (l *lab) mountedWic(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	harness.Must(t, "mount", "-o", "loop,ro,offset=1048576", l.path(filepath.Join(images, image+".wic")), dir)
	defer harness.Must(t, "umount", dir)
	verifyTree(t, dir, l.path("keys/x509_ima.der"), l.manifest(t))
	l.verifyEVM(t, dir, l.path("keys/x509_evm.der"))
}
