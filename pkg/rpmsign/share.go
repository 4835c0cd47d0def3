package rpmsign

import (
	"errors"
	"os"
	"time"

	"github.com/imasign/imasign-build/internal/atomicfile"
)

// shareUnchanged puts a package that needs no new signature header to its output,
// and reports false where something is there already, to be replaced by a copy.
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

// newModTime is the mtime of a package that is written: now, but never in the same
// second as the old one, by which createrepo_c --update, make and rsync would take
// the file for the old one if it kept its size.
func (p *Package) newModTime(now time.Time) time.Time {
	if old := p.stat.ModTime(); now.Unix() <= old.Unix() {
		return time.Unix(old.Unix()+1, 0)
	}
	return now
}
