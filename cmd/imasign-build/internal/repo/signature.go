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

// Signers are the OpenPGP certificates that can verify repomd.xml.
type Signers struct{ list openpgp.EntityList }

// ReadSigners reads OpenPGP certificates (public keys): not armored, or in any number of
// armored blocks. Errors wrap ErrSigners.
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
		v.Observe.Warn(filepath.Join(v.Dir, rel), "is not verified: no OpenPGP certificate was given")
		return nil
	case missing:
		v.find(rel, FlawSignature, "it does not exist")
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
