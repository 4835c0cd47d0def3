package tree

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// partLength is how many bytes of a long path are opened in one call. maxAnchors is how many
// directories on the way stay open.
const (
	partLength = 256
	maxAnchors = 128
)

// anchors are open directories deep in the tree, on the way to the file that was opened
// last. If every file were opened from the root, the time would be proportional to its
// depth, and quadratic for a chain of directories.
//
// If a directory is moved or replaced, its anchor still refers to the old one. This is safe:
// a file opened there is the inode of the walk, or callers get ErrChanged, and it was in the
// tree.
type anchors struct {
	root int
	part func(at int, path string, flags int) (int, error) // Tree.openPart

	mu   sync.Mutex
	list []anchor // from the root downwards, each below the anchor before
}

type anchor struct {
	path string
	fd   int
}

// open opens a path that is too long for one call.
func (a *anchors) open(path string, flags int) (fd int, err error) {
	err = a.near(path, func(at int, rest string) (err error) {
		fd, err = a.part(at, rest, flags)
		return err
	})
	return fd, err
}

// near calls use with an open directory on the way to path, and with the short rest of the
// path from there. The directory stays open until use returns.
func (a *anchors) near(path string, use func(at int, rest string) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := len(a.list) > 0
	at, rest, err := a.reach(path)
	if err == nil {
		err = use(at, rest)
	}
	if errors.Is(err, unix.ENOENT) && old { // an anchor may refer to a directory that was removed
		a.drop(0)
		if at, rest, err = a.reach(path); err == nil {
			err = use(at, rest)
		}
	}
	return err
}

func (a *anchors) reach(path string) (at int, rest string, err error) {
	at, rest = a.root, path
	below := 0
	for i := len(a.list) - 1; i >= 0; i-- {
		if n := len(a.list[i].path); n < len(path) && path[n] == '/' && path[:n] == a.list[i].path {
			a.list[i].path = path[:n] // the next path probably shares this memory, which makes the comparison fast
			at, rest, below = a.list[i].fd, path[n+1:], i+1
			break
		}
	}
	if !local(rest) { // the beginning of the path was checked when the anchor was opened
		return -1, "", fs.ErrInvalid
	}
	for len(rest) >= partLength {
		cut := strings.LastIndexByte(rest[:partLength], '/')
		if cut < 0 {
			return -1, "", unix.ENAMETOOLONG
		}
		fd, err := a.part(at, rest[:cut], passFlags)
		if err != nil {
			return -1, "", err
		}
		rest = rest[cut+1:]
		a.drop(below)
		below = a.add(anchor{path[:len(path)-len(rest)-1], fd})
		at = fd
	}
	return at, rest, nil
}

// add appends an anchor and returns the number of anchors. If there are too many, it closes
// the one nearest to the root.
func (a *anchors) add(new anchor) int {
	if len(a.list) == maxAnchors {
		_ = unix.Close(a.list[0].fd)
		a.list = append(a.list[:0], a.list[1:]...)
	}
	a.list = append(a.list, new)
	return len(a.list)
}

// drop closes all anchors except the first n.
func (a *anchors) drop(n int) {
	for _, old := range a.list[n:] {
		_ = unix.Close(old.fd)
	}
	clear(a.list[n:])
	a.list = a.list[:n]
}

func (a *anchors) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(0)
}
