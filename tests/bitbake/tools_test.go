package bitbake

import "testing"

// wicTools are the programs of this machine that BitBake needs for disk images.
const wicTools = "parted mcopy mkfs.vfat sgdisk sfdisk mmd e2fsck dumpe2fs tune2fs resize2fs"

// TestHostTools checks that this machine has every program that TestBuild needs. BitBake
// refuses to start if one is missing. tests/fresh.sh uses it as a quick check of
// tests/deps.sh.
func TestHostTools(t *testing.T) {
	l := newLab(t)
	l.build(t, "HOSTTOOLS += \"evmctl "+wicTools+"\"\n", "-e")
}
