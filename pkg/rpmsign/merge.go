package rpmsign

import (
	"bytes"
	"fmt"
	"slices"
)

// merged is a tag of the signature header that rpm takes over into the main header
// when it reads a package, under a number of its own there: xlateTags of rpm's
// lib/package.cc. What the main header has already makes rpm refuse the package.
type merged struct {
	signature, main tagNumber
	// either says that a package before version 6 may have it in the main header
	// instead, where old rpm wrote it, but not in both.
	either bool
}

func mergedTags() []merged {
	return []merged{
		{tagSize, 257, false}, {tagPGP, 259, false}, {tagMD5, 261, false}, {tagGPG, 262, false},
		{tagPayloadSize, tagArchiveSize, true},
		{tagFileSignatures, tagMainFileSignatures, true},
		{tagFileSignatureLength, tagMainFileSignatureLength, true},
		{tagVeritySignatures, tagVeritySignatures, false}, {tagVerityAlgorithm, tagVerityAlgorithm, false},
		{tagSHA1, tagSHA1, false}, {tagSHA256, tagSHA256, false}, {tagSHA3, tagSHA3, false},
		{tagDSA, tagDSA, false}, {tagRSA, tagRSA, false}, {tagOpenPGP, tagOpenPGP, false},
		{tagLongSize, tagLongSize, false}, {tagLongArchiveSize, tagLongArchiveSize, false},
	}
}

// checkMerged holds that rpm can merge the two headers. File signatures in both are
// left to be named as a flaw, which can be mended.
func (p *Package) checkMerged() error {
	for _, m := range mergedTags() {
		if !p.main.has(m.main) {
			continue
		}
		ours := m.signature == tagFileSignatures || m.signature == tagFileSignatureLength
		switch both := p.sig.has(m.signature); {
		case m.either && p.format() < 6 && (!both || ours):
		case both:
			return fmt.Errorf("%w: %s is in both headers, which rpm 4.17 and later refuse", ErrMalformed, signatureTagName(m.signature))
		default:
			return fmt.Errorf("main header: %w: it has %s (tag %d), which rpm takes from the signature header alone", ErrMalformed, signatureTagName(m.signature), m.main)
		}
	}
	return nil
}

// Where file signatures may be, as Info.In has it.
const (
	inSignature = "signature"
	inMain      = "main"
	inBoth      = "both"
)

// place is a tag in one of the headers.
type place struct {
	h   *header
	tag tagNumber
}

func (at place) entry() (entry, bool) { return at.h.find(at.tag) }

func (at place) there() bool { return at.h.has(at.tag) }

func (at place) inMain() bool { return at.tag >= tagMainFileSignatures }

// taken returns where rpm takes one of the tags with file signatures from: the main
// header, if that has it.
func (p *Package) taken(t tagNumber) place {
	main := tagMainFileSignatures
	if t == tagFileSignatureLength {
		main = tagMainFileSignatureLength
	}
	if p.main.has(main) {
		return place{p.main, main}
	}
	return place{p.sig, t}
}

// doubled reports whether one of the tags is in both headers.
func (p *Package) doubled() bool {
	for _, t := range fileSignatureTags() {
		if p.taken(t).inMain() && p.sig.has(t) {
			return true
		}
	}
	return false
}

// signaturesIn says which header has the file signatures, "" for none.
func (p *Package) signaturesIn() string {
	list := p.taken(tagFileSignatures)
	switch {
	case list.inMain() && p.sig.has(tagFileSignatures):
		return inBoth
	case list.inMain():
		return inMain
	case list.there():
		return inSignature
	}
	return ""
}

// besideMain returns what of the values, one a file, goes into the signature header;
// nil values are to be taken away. What rpm takes from the main header stays there:
// it can be confirmed, not changed.
func (p *Package) besideMain(values [][]byte) ([]value, error) {
	own := fileSignatureValues(values)
	list, length := p.taken(tagFileSignatures), p.taken(tagFileSignatureLength)
	switch {
	case list.inMain() && values == nil && !length.inMain():
		own = p.sig.having(tagFileSignatureLength) // rpm before 4.19 finds no signature without it
	case length.inMain() && values != nil && !length.states(longestValue(values)):
		return nil, fmt.Errorf("%w: signatures of another length", ErrMainHeader)
	}
	if list.inMain() && !p.confirms(values) {
		return nil, ErrMainHeader
	}
	return slices.DeleteFunc(own, func(v value) bool { return p.taken(v.tag).inMain() }), nil
}

// confirms reports whether values are those that the main header has. Taking them
// away is confirmed as well where there are none, or where the signature header has
// others, so that rpm does not read the package: at least these go.
func (p *Package) confirms(values [][]byte) bool {
	there := p.values.values
	if values == nil {
		signed := there == nil || slices.ContainsFunc(there, func(v []byte) bool { return v != nil })
		return !signed || p.sig.has(tagFileSignatures)
	}
	return there != nil && slices.EqualFunc(there, values, bytes.Equal)
}

func (at place) states(n int) bool {
	stated, ok := at.h.number(at.tag)
	return ok && stated == uint64(n)
}

func longestValue(values [][]byte) (longest int) {
	for _, v := range values {
		longest = max(longest, len(v))
	}
	return longest
}
