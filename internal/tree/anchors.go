package tree

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// partLength is how much of a long path is opened at a time, in bytes, and maxAnchors
// how many directories on the way stay open.
const (
	partLength = 256
	maxAnchors = 128
)

// anchors are open directories far down in a tree, on the way to what was opened last.
// Opened from the root, everything would cost as much as it is deep, and a chain of
// directories the square of that. A directory that somebody moves or replaces meanwhile
// stays the one that the anchor is of: what is opened there is the inode that the walk
// met, or ErrChanged, and never anything that was not in the tree.
type anchors struct {
	root int
	part func(at int, path string, flags int) (int, error) // Tree.openPart

	mu   sync.Mutex
	list []anchor // from the root downwards, each below the one before
}

type anchor struct {
	path string
	fd   int
}

// open opens a path that is longer than the kernel takes in one call.
func (a *anchors) open(path string, flags int) (fd int, err error) {
	err = a.near(path, func(at int, rest string) (err error) {
		fd, err = a.part(at, rest, flags)
		return err
	})
	return fd, err
}

// near calls use with an open directory on the way to path, which stays open that long,
// and with the short path that is left from there.
func (a *anchors) near(path string, use func(at int, rest string) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := len(a.list) > 0
	at, rest, err := a.reach(path)
	if err == nil {
		err = use(at, rest)
	}
	if errors.Is(err, unix.ENOENT) && old { // an anchor may be of a directory that is no more
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
			a.list[i].path = path[:n] // what comes next is likely to share its memory: that compares at once
			at, rest, below = a.list[i].fd, path[n+1:], i+1
			break
		}
	}
	if !local(rest) { // what leads to an anchor was looked at before
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

// add appends an anchor, giving up the one nearest to the root for it where there are
// many, and returns how many there are.
func (a *anchors) add(new anchor) int {
	if len(a.list) == maxAnchors {
		_ = unix.Close(a.list[0].fd)
		a.list = append(a.list[:0], a.list[1:]...)
	}
	a.list = append(a.list, new)
	return len(a.list)
}

// drop closes all but the first n anchors.
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
