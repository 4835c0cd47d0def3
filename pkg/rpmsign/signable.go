package rpmsign

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Signable returns nil if the files of the package can be signed with security.ima values of
// at most longest bytes, and rpm will read the package. With 0 it does not check the size.
// selected, unless nil, gives a Reason to each file that keeps the signature that it has.
//
// Errors wrap ErrSource, ErrWeakDigest, ErrHeaderTooLarge or, with the number of files that
// can be signed, ErrHeaderLimit. Nothing has to be signed to find them.
func (p *Package) Signable(ctx context.Context, longest int, selected func(signing.Source) signing.Source) error {
	err := p.signable(ctx, longest, selected)
	if err != nil {
		return fmt.Errorf("sign %s: %w", p.path, err)
	}
	return nil
}

func (p *Package) signable(ctx context.Context, longest int, selected func(signing.Source) signing.Source) error {
	if p.Source() {
		return ErrSource
	}
	signed, kept := p.shares(ctx, selected)
	if signed == 0 {
		return nil
	}
	if err := p.hash().CheckSigns(); err != nil {
		return fmt.Errorf("%w: %w; rebuild the package with %%_binary_filedigest_algorithm 8 (SHA-256)", ErrWeakDigest, err)
	}
	fixed, limit := len(p.files)+2*kept, int(p.options.MaxHeader)
	zeros := make([]byte, min(fixed+2*longest*signed, limit)) // never written to, so they take no memory
	fits := func(n, size int) error {
		text, over := fixed+2*size*n, 0
		if text > len(zeros) {
			over = (text - len(zeros) + 7) &^ 7 // which keeps the alignment of what follows
		}
		entries, data := p.predict(zeros[:text-over])
		return checkSize(entries, data+over, p.options.MaxHeader)
	}
	err := fits(signed, longest)
	if errors.Is(err, ErrHeaderLimit) && longest > 0 {
		files := sort.Search(signed, func(n int) bool { return fits(n+1, longest) != nil })
		size := sort.Search(longest, func(n int) bool { return fits(signed, n+1) != nil })
		err = fmt.Errorf("%w; there is room for %d signatures of %d bytes, or for all %d if they have at most %d bytes", err, files, longest, signed, size)
	}
	return err
}

// shares returns how many files get new signatures, and the bytes of the signatures that the
// others keep. A listing that fails is left to the plan.
func (p *Package) shares(ctx context.Context, selected func(signing.Source) signing.Source) (signed, kept int) {
	var entries signing.Source = p
	if selected != nil {
		entries = selected(p)
	}
	i := 0
	for e, err := range entries.Entries(ctx) {
		if err != nil || i == len(p.files) {
			break
		}
		switch {
		case e.Reason != "":
			kept += len(p.values.of(i))
		case p.files[i].Digest != nil:
			signed++
		}
		i++
	}
	return signed, kept
}

// predict returns the numbers of entries and of bytes of data of the signature header with
// these FILESIGNATURES.
func (p *Package) predict(text []byte) (entries, data int) {
	own := []value{
		{tagFileSignatures, typeStringArray, uint32(len(p.files)), text},
		{tagFileSignatureLength, typeInt32, 1, make([]byte, 4)},
	}
	if base, pad := p.peculiar(); base != nil {
		own = withPadding(own, pad)
		return len(base.entries) + len(own), len(base.data) + insertedSize(base.end(), own)
	}
	tags := fileSignatureTags()
	values := p.sig.withReserve(p.sig.kept(tags...), own, p.sig.having(tags...))
	_, data = measure(sorted(values))
	return len(values) + 1, data
}
