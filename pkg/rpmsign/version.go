package rpmsign

import (
	"cmp"

	"github.com/cavaliergopher/rpm"
)

// evr is a package's epoch, version and release, as rpm.Compare reads them.
type evr struct {
	epoch            int
	version, release string
}

func (e evr) Epoch() int      { return e.epoch }
func (e evr) Version() string { return e.version }
func (e evr) Release() string { return e.release }

// Compare orders packages by name. It orders packages of the same name by epoch, version
// and release as rpm does, the newest first. The result is negative if i comes before o,
// and 0 if both are the same version of one package.
func (i *Info) Compare(o *Info) int {
	if order := cmp.Compare(i.base, o.base); order != 0 {
		return order
	}
	return rpm.Compare(o.evr, i.evr)
}
