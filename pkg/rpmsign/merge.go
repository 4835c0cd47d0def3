package rpmsign

import (
	"bytes"
	"fmt"
	"slices"
)

// merged is a tag of the signature header that rpm copies into the main header when it reads
// a package, there with the number main (xlateTags of rpm's lib/package.cc). If the main
// header has the tag already, rpm refuses the package.
type merged struct {
	signature, main tagNumber
	// either says that packages before version 6 can have the tag in the main header
	// instead, where old versions of rpm wrote it, but not in both.
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

// checkMerged checks that rpm can merge the two headers. It accepts file signatures in both:
// they are a flaw, which can be repaired.
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
			return fmt.Errorf("main header: %w: it has %s (tag %d), which rpm accepts only in the signature header", ErrMalformed, signatureTagName(m.signature), m.main)
		}
	}
	return nil
}

// Values of Info.In: the header with the file signatures.
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

// taken returns the place where rpm reads one of the tags with file signatures: the main
// header if it has the tag.
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

// signaturesIn returns which header has the file signatures, or "" if there are none.
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

// besideMain returns the tags for the signature header. values has one value for each file.
// It is nil if signatures are removed. Tags that rpm reads from the main header stay there:
// values can only be equal to them.
func (p *Package) besideMain(values [][]byte) ([]value, error) {
	own := fileSignatureValues(values)
	list, length := p.taken(tagFileSignatures), p.taken(tagFileSignatureLength)
	switch {
	case list.inMain() && values == nil && !length.inMain():
		own = p.sig.having(tagFileSignatureLength) // rpm before 4.19 finds no signatures without it
	case length.inMain() && values != nil && !length.states(longestValue(values)):
		return nil, fmt.Errorf("%w: signatures of another length", ErrMainHeader)
	}
	if list.inMain() && !p.confirms(values) {
		return nil, ErrMainHeader
	}
	return slices.DeleteFunc(own, func(v value) bool { return p.taken(v.tag).inMain() }), nil
}

// confirms reports whether values are those in the main header. Nil values, which remove
// signatures, also match if the main header has none, or if the signature header has others:
// rpm does not read such a package, and removing the others repairs it.
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
