package bitbake

import "testing"

// wicTools are what BitBake needs of this machine for disk images.
const wicTools = "parted mcopy mkfs.vfat sgdisk sfdisk mmd e2fsck dumpe2fs tune2fs resize2fs"

// TestHostTools finds every program that the builds of TestBuild take from this
// machine: BitBake refuses to start without one of them. It is the quick check of what
// tests/deps.sh installs, for tests/fresh.sh.
func TestHostTools(t *testing.T) {
	l := newLab(t)
	l.build(t, "HOSTTOOLS += \"evmctl "+wicTools+"\"\n", "-e")
}
