package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Resume opens o.Output, which an interrupted run may have made from the package at path, so
// that this run can continue in place. Its signatures are checked like those of any package,
// and stay if they are right. kept, unless nil, gives a Reason to each file of the package
// at path whose signature this run does not change.
//
// It is an error if the output differs from the package at path in anything but the file
// signatures that this run makes and, with o.OpenPGP, the OpenPGP signatures. If there is no
// output, the error is that of Open (fs.ErrNotExist).
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

// keeps reports whether the package has the same signatures as in for the files whose
// entries have a Reason. The interrupted run may have selected other files.
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

// continues reports whether the package differs from in only in tags that signing writes.
func (p *Package) continues(in *Package) bool {
	ours := fileSignatureTags()
	if p.options.OpenPGP != nil {
		ours = append(ours, openPGPTags()...)
	}
	return bytes.Equal(in.main.raw, p.main.raw) && in.size-in.payload == p.size-p.payload &&
		slices.EqualFunc(in.sig.kept(ours...), p.sig.kept(ours...), value.equal)
}
