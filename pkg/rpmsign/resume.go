package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Resume opens o.Output, which an interrupted run may have made of the package at path,
// to go on with in place. What it has of signatures is checked like any package's and
// stays if it is as it should be. kept, unless nil, gives a Reason to each file of the
// package at path whose signature this run is to leave as it is. It is an error if the
// output is not the package at path but for signatures of other files and, where o.OpenPGP
// makes them anew, OpenPGP signatures; where there is none, the error is that of Open
// (fs.ErrNotExist).
func Resume(ctx context.Context, path string, o Options, kept func(signing.Source) signing.Source) (*Package, error) {
	output := o.Output
	o.Output, o.Outside = "", ""
	out, err := Open(output, o)
	if err != nil {
		return nil, err
	}
	in, err := Open(path, Options{})
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	defer in.Close() //nolint:errcheck // opened for reading
	same := out.continues(in)
	if same && kept != nil {
		same, err = out.keeps(ctx, in, kept(in))
	}
	if err == nil && !same {
		err = fmt.Errorf("%s: %w", output, errNotResumable)
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
