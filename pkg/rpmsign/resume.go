package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Resume opens the unit's Output, which an interrupted run may have written, to go on
// with in place. What it has of signatures is checked like any package's and stays if it
// is as it should be. kept, unless nil, gives a Reason to each file of the package at Path
// whose signature this run is to leave as it is. The error is ErrNotResumable for one that
// is not the package at Path but for signatures of other files and, where o.OpenPGP makes
// them anew, OpenPGP signatures; it is that of Open where there is none.
func Resume(ctx context.Context, u Unit, o Options, kept func(signing.Source) signing.Source) (*Package, error) {
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
	same := out.continues(in)
	if same && kept != nil {
		same, err = out.keeps(ctx, in, kept(in))
	}
	if err == nil && !same {
		err = fmt.Errorf("%s: %w", u.Output, ErrNotResumable)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// keeps reports whether the package has the signatures of in where the entries, those of
// in, have a Reason: the run that was interrupted may have been about other files.
func (p *Package) keeps(ctx context.Context, in *Package, entries signing.Source) (bool, error) {
	i := 0
	for e, err := range entries.Entries(ctx) {
		if err != nil {
			return false, err
		}
		if e.Reason != "" && in.files[i].Digest != nil && !bytes.Equal(p.values.of(i), in.values.of(i)) {
			return false, nil
		}
		i++
	}
	return true, nil
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
