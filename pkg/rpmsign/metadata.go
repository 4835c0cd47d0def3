package rpmsign

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/cavaliergopher/rpm"
)

// maxMetadata bounds the data of one tag that metadata are read from.
const maxMetadata = 64 << 10

// metadata has package rpm read what the main header says about the package. It
// gets a header that is laid out anew from the few tags it is asked for, each
// checked and of bounded size: what it makes of a whole hostile header is nobody's
// to find out.
func (p *Package) metadata() (*rpm.Package, error) {
	var values []value
	for _, t := range []struct {
		tag  tagNumber
		text bool
	}{
		{tagName, true}, {tagVersion, true}, {tagRelease, true}, {tagEpoch, false}, {tagSummary, true}, {tagBuildTime, false},
		{tagVendor, true}, {tagLicense, true}, {tagURL, true}, {tagArch, true},
	} {
		e, ok := p.main.find(t.tag)
		switch {
		case !ok || e.length > maxMetadata:
		case t.text && e.typ.isString(): // of a table of translations, the first
			values = append(values, value{t.tag, typeString, 1, append([]byte(p.main.text(t.tag)), 0)})
		case !t.text && e.typ == typeInt32:
			values = append(values, value{t.tag, e.typ, e.count, p.main.bytes(e)})
		}
	}
	headers := bytes.Join([][]byte{p.lead, withZeros(build(nil)), build(values)}, nil)
	m, err := rpm.Read(bytes.NewReader(headers))
	if err != nil {
		return nil, fmt.Errorf("read metadata of %s: %w", p.path, err)
	}
	return m, nil
}

// evr is a package's epoch, version and release.
type evr struct {
	epoch            int
	version, release string
}

func (e evr) Epoch() int      { return e.epoch }
func (e evr) Version() string { return e.version }
func (e evr) Release() string { return e.release }

// Compare orders packages by name, and those of one name by epoch, version and release
// in rpm's order, the newest first: negative if i comes before o, 0 if both are of one
// version.
func (i *Info) Compare(o *Info) int {
	if order := cmp.Compare(i.base, o.base); order != 0 {
		return order
	}
	return rpm.Compare(o.evr, i.evr)
}
