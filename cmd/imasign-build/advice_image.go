package main

import (
	"io"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/disk"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// imageCauses are those of finished images.
func imageCauses() []cause {
	return []cause{
		{err: image.ErrUnpackLimit, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: image.ErrSeveral, kind: "refused", advice: "--partition chooses one by its number, or several with the directories they are mounted on", flag: "partition"},
		{err: image.ErrSeveral, kind: "refused", advice: "`image verify --partition` chooses one", on: "rootfs verify"},
		{err: image.ErrNoPartition, kind: "not_found", advice: "`image list` shows the partitions"},
		{err: image.ErrUnreadable, kind: "unsupported"},
		{err: disk.ErrSectorSize, kind: "unsupported", advice: "--sector states it", flag: "sector"},
		{err: filesystem.ErrUnsupported, kind: "unsupported"},
		{err: filesystem.ErrLimit, kind: "too_large"},
		{err: filesystem.ErrCorrupt, kind: "malformed", advice: again},
		{err: io.ErrUnexpectedEOF, kind: "malformed", advice: again, flag: "sector"},
	}
}
