package main

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4sign"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// instead is advice on trees whose files cannot get values.
const instead = "`tar create DIR -o OUT --sign` signs while it packs and does not change the tree, --output restore makes a file for `setfattr -h --restore=`"

// containerCauses are those of trees, archives and images.
func containerCauses() []cause {
	const (
		asRoot  = "run it as root, or in one fakeroot or pseudo session with the command that packs the tree"
		toTar   = "with -o OUT.tar the signatures go to an archive of the tree"
		spoolIt = "TMPDIR chooses where"
	)
	return []cause{
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot + "; " + instead, on: "rootfs sign"},
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot + "; " + toTar, on: "manifest apply"},
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot},
		{err: rootfs.ErrReadOnly, kind: "permission", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrReadOnly, kind: "permission", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoXattrs, kind: "unsupported", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrNoXattrs, kind: "unsupported", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoEVM, kind: "unsupported", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrNoEVM, kind: "unsupported", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoEVM, kind: "unsupported"},
		{err: rootfs.ErrLinksSplit, kind: "unsupported"},
		{err: rootfs.ErrNoRoom, kind: "too_large"},
		{err: tree.ErrPreload, kind: "unsupported"},
		{err: tree.ErrLocked, kind: "busy", advice: "wait until it has ended"},
		{err: rootfs.ErrChanged, kind: "changed", advice: "run it again when nothing else writes there"},
		{err: tarball.ErrUnpackLimit, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: signing.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrSpool, kind: "io", advice: spoolIt},
		{err: oci.ErrSpool, kind: "io", advice: spoolIt},
		{err: input.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrTooLarge, kind: "too_large"},
		{err: tarball.ErrFormat, kind: "malformed", advice: "`tar -tvf` shows whether GNU tar can read it"},
		{err: tarball.ErrTruncated, kind: "malformed", advice: again},
		{err: compress.ErrMemory, kind: "too_large"},
		{err: tarball.ErrCompression, kind: "malformed", advice: again},
		{err: tarball.ErrAmbiguous, kind: "refused"},
		{err: ext4sign.ErrFormat, kind: "unsupported"},
		{err: ext4sign.ErrSquashfs, kind: "unsupported", advice: "make a new image of signed files: " + signSquashfs("IMAGE")},
		{err: ext4sign.ErrEROFS, kind: "unsupported", advice: "sign the archive that it is made from (imasign-build tar sign), and make a new image of that: mkfs.erofs --tar=f"},
		{err: ext4sign.ErrRoom, kind: "too_large"},
		{err: ext4sign.ErrSealed, kind: "refused"},
		{err: ext4sign.ErrDamaged, kind: "malformed"},
		{err: ext4sign.ErrNoProgram, kind: "not_found"},
		{err: oci.ErrFormat, kind: "malformed", advice: "--oci takes what `skopeo copy` writes to oci:, oci-archive: and docker-archive:", flag: "oci"},
		{err: oci.ErrUnsupported, kind: "unsupported"},
		{err: oci.ErrExists, kind: "exists", advice: elsewhere},
		{err: initramfs.ErrPrivateKey, kind: "refused", advice: "name the file that was meant"},
		{err: initramfs.ErrRefused, kind: "refused"}, {err: initramfs.ErrUseless, kind: "refused"},
		{err: initramfs.ErrExists, kind: "exists", advice: elsewhere},
		{err: initramfs.ErrBusybox, kind: "malformed"},
	}
}
