package manifest

import (
	"encoding/hex"
	"io/fs"

	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/pkg/ima"
)

// DigestPath returns the path that a digest has in a manifest of digests: the name of the
// hash, a colon, and the digest in lower-case hexadecimal.
func DigestPath(h ima.HashID, digest []byte) string {
	return h.String() + ":" + hex.EncodeToString(digest)
}

// fileType returns the file type with this name, without permissions. It is the inverse of
// Kind.
func fileType(kind string) fs.FileMode {
	switch kind {
	case "directory":
		return fs.ModeDir
	case "symlink":
		return fs.ModeSymlink
	case "fifo":
		return fs.ModeNamedPipe
	case "socket":
		return fs.ModeSocket
	case "char":
		return fs.ModeDevice | fs.ModeCharDevice
	case "block":
		return fs.ModeDevice
	}
	return 0
}

// FileMode returns the line's kind and mode as an [fs.FileMode].
func (l *Line) FileMode() fs.FileMode {
	return fileType(l.Kind) | stmode.FileMode(l.Mode&0o7777)
}
