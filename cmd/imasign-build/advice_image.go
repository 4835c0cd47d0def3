package main

import (
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// imageCauses are those of finished images.
func imageCauses() []cause {
	const (
		chooses = "--partition chooses one by its number, or several with the directories they are mounted on"
		mounts  = "--partition N:DIR says where the device mounts each"
		useTree = "use the tree that it is made from, or mount it and use that tree"
	)
	return []cause{
		{err: image.ErrUnpackLimit, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: filesystem.ErrContent, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: image.ErrSeveral, kind: "refused", advice: chooses, flag: "partition"},
		{err: image.ErrSeveral, kind: "refused", advice: "`image verify --partition` chooses one", on: "rootfs verify"},
		{err: image.ErrNoPartition, kind: "not_found", advice: "`image list` shows the partitions"},
		{err: image.ErrNothing, kind: "unsupported", advice: "`image list` shows what is in them"},
		{err: image.ErrMountedTwice, kind: "refused", advice: mounts},
		{err: image.ErrNoRoot, kind: "refused", advice: mounts + ", and one of them is the root"},
		{err: filesystem.ErrNoMountPoint, kind: "not_found", advice: mounts},
		{err: image.ErrDirectory, advice: "`rootfs verify` verifies a tree", on: "image verify"},
		{err: image.ErrDirectory, advice: "`rootfs sign` signs a tree", on: "image sign"},
		{err: image.ErrDirectory, advice: "--rootfs takes a tree", flag: "rootfs"},
		{err: image.ErrUnreadable, kind: "unsupported"},
		{err: image.ErrCompression, kind: "malformed", advice: again},
		{err: disk.ErrSectorSize, kind: "unsupported", advice: "leave out --sector", given: "sector"},
		{err: disk.ErrSectorSize, kind: "unsupported", advice: "--sector states it", flag: "sector"},
		{err: filesystem.ErrUnsupported, kind: "unsupported", advice: useTree},
		{err: filesystem.ErrLimit, kind: "too_large"},
		{err: filesystem.ErrCorrupt, kind: "malformed", advice: again},
		{err: io.ErrUnexpectedEOF, kind: "malformed", advice: again, flag: "sector"},
	}
}
