// Package filesystem walks a file system in a finished image, of any format, without
// mounting it.
//
// A [Reader] knows one format: package ext4, squashfs or erofs. It finds inodes and
// decodes them. This package does what all formats need: it walks the names in one order,
// joins file systems at mount points, and refuses what no mkfs writes but a hostile image
// may have, such as names with slashes, names that repeat, directories that contain
// themselves, and more content than the caller allows.
package filesystem

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

var (
	// ErrCorrupt means an image that breaks the rules of its format.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported means a feature of a format that its reader does not have. The text
	// around it names the feature.
	ErrUnsupported = errors.New("not supported")
	// ErrLimit means an image that needs more time or memory than the walk allows.
	ErrLimit = errors.New("beyond the limit")
	// ErrContent means files with more content than Options.MaxContent. It wraps ErrLimit.
	ErrContent = fmt.Errorf("%w", ErrLimit)
	// ErrNoMountPoint means that the root file system lacks the directory of a mount.
	ErrNoMountPoint = errors.New("there is no directory to mount a partition on")
)

// Corrupt returns an error that wraps ErrCorrupt.
func Corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// Unsupported returns an error that wraps ErrUnsupported. what is the feature.
func Unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnsupported, fmt.Errorf(format, args...))
}

// ID identifies an inode in its file system: the inode number of ext4, the reference of
// squashfs, the nid of EROFS. All names of a hard link have the same ID.
type ID uint64

// Inode is what a file system says about a file.
type Inode struct {
	Mode     fs.FileMode // type and permission bits, with setuid, setgid and sticky
	UID, GID uint32
	Size     int64  // in bytes, of the content or of the target of a symbolic link
	Links    uint64 // number of names
	// Major and Minor are the device number of a device node, and zero for other files.
	Major, Minor uint32
}

// Dirent is a name in a directory.
type Dirent struct {
	Name string // raw bytes, which need not be UTF-8
	ID   ID
}

// Facts describe a file system, for people.
type Facts struct {
	Type     string   // as in /proc/filesystems: "ext4"
	Label    string   // volume name, in raw bytes; "" for none
	UUID     string   // in the usual form; "" for none
	Features []string // by the names that the format's tools print, sorted
	// BlockSize and Size are in bytes. Size is what the superblock states.
	BlockSize, Size int64
}

// MaxXattrs is how many bytes the values of the xattrs of one file may have together. That
// is much more than files of a device have, and a small image can state it for each file.
const MaxXattrs = 1 << 20

// Reader reads one file system. All methods may be called from any goroutine, and their
// errors do not name the file: callers know its path.
//
// A Reader allocates at most a few blocks of the format's own size for each open file,
// whatever the image states. All numbers in an image are hostile.
type Reader interface {
	Facts() Facts
	// Root returns the ID of the root directory.
	Root() ID
	// Inode decodes an inode.
	Inode(id ID) (Inode, error)
	// ReadDir passes take the names in a directory, in any order, without "." and "..". It
	// ends with the first error of take, and returns it.
	ReadDir(id ID, take func(Dirent) error) error
	// Readlink returns the target of a symbolic link, at most 4,095 bytes.
	Readlink(id ID) (string, error)
	// Xattrs returns all xattrs by their full names, such as "security.ima", as the
	// kernel shows them to root.
	Xattrs(id ID) (map[string][]byte, error)
	// Open opens the content of a regular file.
	Open(id ID) (Content, error)
}

// Content is the content of one file. Holes read as zeros. Reading has the semantics of
// [io.ReaderAt], but only one goroutine may use a Content at a time. Reading forward, in
// pieces of any size, decodes each block once.
type Content interface {
	io.ReaderAt
	io.Closer
}
