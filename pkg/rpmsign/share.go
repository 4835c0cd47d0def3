package rpmsign

import (
	"errors"
	"os"
	"time"

	"github.com/imasign/imasign-build/internal/atomicfile"
)

// shareUnchanged links a package that needs no new signature header to its output. It
// reports false if the output exists as another file, which a copy must replace.
func (p *Package) shareUnchanged() (done bool, err error) {
	there, err := os.Stat(p.options.Output)
	if err == nil && os.SameFile(there, p.stat) {
		return true, nil
	}
	err = atomicfile.LinkOrCopy(p.path, p.options.Output)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// newModTime returns the mtime of a package that is written: now, but never in the same
// second as the old mtime. If the size is also the same, createrepo_c --update, make and
// rsync would take the file for the old one.
func (p *Package) newModTime(now time.Time) time.Time {
	if old := p.stat.ModTime(); now.Unix() <= old.Unix() {
		return time.Unix(old.Unix()+1, 0)
	}
	return now
}
