package rpmsign

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/cavaliergopher/rpm"

	"github.com/imasign/imasign-build/pkg/ima"
)

// HeaderDigests returns the digests of the regular files in a main header, as a package has it
// from its magic number to the end of its data, their hash, and when the package was built. It
// is for a reader that has only the header and a signature over it, and is stricter than rpm:
// nothing in the header may be readable in two ways.
//
// The immutable region must be the whole header, no tag may be in it twice, and a second reader
// must find the same tags with the same data. The header must say when the package was built.
// Errors wrap ErrMalformed, ErrSource or ErrWeakDigest.
func HeaderDigests(header []byte) (h ima.HashID, digests [][]byte, built time.Time, err error) {
	fail := func(err error) (ima.HashID, [][]byte, time.Time, error) { return 0, nil, time.Time{}, err }
	p := Package{}
	if p.main, err = parseHeader(header, mainLimits()); err != nil {
		return fail(fmt.Errorf("main header: %w", err))
	}
	seconds, err := p.checkAlone()
	if err != nil {
		return fail(fmt.Errorf("main header: %w", err))
	}
	if p.files, err = readFiles(p.main); err != nil {
		return fail(err)
	}
	if err := p.hash().CheckSigns(); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrWeakDigest, err))
	}
	for i := range p.files {
		if f := &p.files[i]; f.Digest != nil && f.Mode.IsRegular() {
			digests = append(digests, f.Digest)
		}
	}
	return p.hash(), digests, time.Unix(int64(seconds), 0).UTC(), nil
}

// checkAlone checks a main header that comes without its package, and returns its build time.
func (p *Package) checkAlone() (built uint32, err error) {
	h := p.main
	if h.inRegion == 0 {
		return 0, fmt.Errorf("%w: it has no immutable region, as those of rpm 3", ErrMalformed)
	}
	if err := h.checkWholeRegion(); err != nil {
		return 0, err
	}
	if p.Source() {
		return 0, ErrSource
	}
	if err := h.checkUnique(); err != nil {
		return 0, err
	}
	for _, t := range []tagNumber{tagFileDigestAlgo, tagBuildTime} {
		if e, ok := h.find(t); ok && (e.typ != typeInt32 || e.count != 1) {
			return 0, fmt.Errorf("%w: tag %d has type %d and %d items, not one 32-bit number", ErrMalformed, t, e.typ, e.count)
		}
	}
	seconds, ok := h.number(tagBuildTime)
	if !ok {
		return 0, fmt.Errorf("%w: it does not say when the package was built", ErrMalformed)
	}
	return uint32(seconds), h.rereadAlone()
}

func (h *header) checkUnique() error {
	tags := make([]tagNumber, len(h.entries))
	for i, e := range h.entries {
		tags[i] = e.tag
	}
	slices.Sort(tags)
	for i := range tags[1:] {
		if tags[i] == tags[i+1] {
			return fmt.Errorf("%w: tag %d is in it twice", ErrMalformed, tags[i])
		}
	}
	return nil
}

// rereadAlone compares every tag with what cavaliergopher/rpm finds in a package with this
// header.
func (h *header) rereadAlone() error {
	if len(h.data) > maxReread || h.rereadMemory() > maxRereadMemory {
		return fmt.Errorf("%w: it is too large for a second reader", ErrMalformed)
	}
	lead := make([]byte, leadSize)
	copy(lead, leadMagic+"\x03")
	signature := build([]value{{tagSize, typeInt32, 1, make([]byte, 4)}})
	pad := make([]byte, padded(int64(len(signature)))-int64(len(signature)))
	m, err := rpm.Read(bytes.NewReader(slices.Concat(lead, signature, pad, h.raw)))
	if err != nil {
		return fmt.Errorf("%w: a second reader refuses it: %w", ErrMalformed, err)
	}
	if tag, ok := agree(&m.Header, h.values(func(tagNumber) bool { return true })); !ok {
		return fmt.Errorf("%w: a second reader finds other data of tag %d", ErrMalformed, tag)
	}
	return nil
}
