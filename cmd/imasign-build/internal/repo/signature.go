package repo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// Signers are the OpenPGP certificates by which repomd.xml may be signed.
type Signers struct{ list openpgp.EntityList }

// ReadSigners reads OpenPGP certificates (public keys), armored or not; of armored ones
// the text may have several blocks. Errors wrap ErrSigners.
func ReadSigners(text []byte) (*Signers, error) {
	list, err := rpmsign.ReadKeyRing(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrSigners, quote.Plain(err))
	case len(list) == 0:
		return nil, ErrSigners
	}
	return &Signers{list}, nil
}

// signature verifies repomd.xml.asc.
func (v *verification) signature(p *listing) error {
	rel := filepath.Join(p.rel, signaturePath)
	text, err := input.ReadRegular(filepath.Join(v.root, rel), 1<<20)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case v.Signers == nil && missing:
		return nil
	case v.Signers == nil:
		v.Observe.Warn(filepath.Join(v.Dir, rel), "is not verified: no OpenPGP certificate was named")
		return nil
	case missing:
		v.find(rel, FlawSignature, "it is not there")
		return nil
	case errors.Is(err, input.ErrTooLarge), errors.Is(err, input.ErrNotRegular):
		v.find(rel, FlawSignature, "%v", err)
		return nil
	case err != nil:
		return err
	}
	_, err = openpgp.CheckArmoredDetachedSignature(v.Signers.list, bytes.NewReader(p.text), bytes.NewReader(text), nil)
	if err != nil {
		v.find(rel, FlawSignature, "%v", quote.Plain(err))
	}
	return nil
}
