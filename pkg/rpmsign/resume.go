package rpmsign

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Resume opens the unit's Output, which an interrupted run may have written, to go on
// with in place. What it has of signatures is checked like any package's and stays if it
// is as it should be. The error is ErrNotResumable for one that is not the package at Path
// but for file signatures and, where o.OpenPGP makes them anew, OpenPGP signatures; it is
// that of Open where there is none.
func Resume(u Unit, o Options) (*Package, error) {
	o.Output, o.Outside = "", ""
	out, err := Open(u.Output, o)
	if err != nil {
		return nil, err
	}
	in, err := Open(u.Path, Options{})
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	defer in.Close() //nolint:errcheck // opened for reading
	if !out.continues(in) {
		return nil, errors.Join(fmt.Errorf("%s: %w", u.Output, ErrNotResumable), out.Close())
	}
	return out, nil
}

// continues reports whether the package is in but for what signing writes.
func (p *Package) continues(in *Package) bool {
	ours := fileSignatureTags()
	if p.options.OpenPGP != nil {
		ours = append(ours, openPGPTags()...)
	}
	return bytes.Equal(in.main.raw, p.main.raw) && in.size-in.payload == p.size-p.payload &&
		slices.EqualFunc(in.sig.kept(ours...), p.sig.kept(ours...), value.equal)
}
