package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// treeCount is what is counted of trees, or of single files.
type treeCount struct {
	paths       []string
	crossMounts bool
	files       bool // only regular files, and the content of each name of a hard link
}

// count makes the totals of what c counts known. It is walked later, in the background, if
// the run lasts.
func (p *progress) count(c interface {
	count(stop <-chan struct{}) (amount, error)
}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counter = func() (amount, error) { return c.count(p.stop) }
	p.tally.begin(p.tally.verb, p.tally.noun, amount{})
}

// startCounting walks what is counted, once.
func (p *progress) startCounting() {
	p.mu.Lock()
	count := p.counter
	p.counter = nil
	p.mu.Unlock()
	if count == nil {
		return
	}
	p.stopped.Go(func() {
		n, err := count()
		if err != nil {
			return // no totals: the run itself says what is wrong
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tally.count(n)
	})
}

// errStopped means that nobody wants to know a count any more.
var errStopped = errors.New("stopped")

// count walks the trees. It ends early when stop is closed.
func (c treeCount) count(stop <-chan struct{}) (amount, error) {
	w := counter{treeCount: c, stop: stop, met: map[[2]uint64]bool{}}
	for _, path := range c.paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return amount{}, err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR { // to open a FIFO would wait for a writer
			w.add(&st)
			continue
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return amount{}, err
		}
		f := os.NewFile(uintptr(fd), "")
		if err := errors.Join(w.directory(f, st.Dev), f.Close()); err != nil {
			return amount{}, err
		}
	}
	return w.sum, nil
}

// counter counts names and sizes. Unlike a walk of internal/tree it has no order, and it
// examines only regular files and directories.
type counter struct {
	treeCount

	stop <-chan struct{}
	met  map[[2]uint64]bool
	sum  amount
}

func (w *counter) directory(dir *os.File, device uint64) error {
	for {
		list, err := dir.ReadDir(1024)
		for _, e := range list {
			if err := w.entry(int(dir.Fd()), e, device); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		select {
		case <-w.stop:
			return errStopped
		default:
		}
	}
}

func (w *counter) entry(dir int, e os.DirEntry, device uint64) error {
	switch {
	case e.Type().IsRegular():
		var st unix.Stat_t
		if err := unix.Fstatat(dir, e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		w.add(&st)
		return nil
	case !w.files:
		w.sum.items++
	}
	if !e.IsDir() {
		return nil
	}
	fd, err := unix.Openat(dir, e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "")
	defer f.Close() //nolint:errcheck // opened for reading
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Dev != device && !w.crossMounts {
		return nil
	}
	return w.directory(f, st.Dev)
}

// add counts a regular file. Its content counts once, whatever names it has.
func (w *counter) add(st *unix.Stat_t) {
	w.sum.items++
	if st.Nlink > 1 && !w.files {
		inode := [2]uint64{st.Dev, st.Ino}
		if w.met[inode] {
			return
		}
		w.met[inode] = true
	}
	w.sum.bytes += st.Size
}
