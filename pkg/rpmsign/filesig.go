package rpmsign

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Flaw is what can be wrong with the file signatures of a package: a stable word for
// scripts, such as "signature-count"; docs/rpm.md lists them. Where rpm ignores the
// signatures, so does this package: they count as missing.
type Flaw string

// Flaws that no new signature can mend.
const (
	// FlawMain: the signatures are in the main header, which digests and OpenPGP
	// signatures cover.
	FlawMain Flaw = "main-header"
	// FlawBoth: signatures are in both headers; rpm 4.17 and later refuse the package.
	FlawBoth Flaw = "both-headers"
)

// The other flaws.
const (
	// flawCount: there are more or fewer signatures than files; rpm ignores all.
	flawCount Flaw = "signature-count"
	// flawHex: a signature is not hexadecimal or has an odd length; rpm ignores
	// all, or sets garbage.
	flawHex Flaw = "not-hex"
	// flawRepeated: FILESIGNATURES or FILESIGNATURELENGTH is there more than once,
	// as rpmsign leaves it after --delsign; which one counts differs by version.
	flawRepeated Flaw = "repeated-tag"
	// flawType: one of the two tags has another type than rpm reads.
	flawType Flaw = "wrong-type"
	// flawNoLength: FILESIGNATURELENGTH is missing; before rpm 4.19 no signature is
	// found without it.
	flawNoLength Flaw = "no-length"
	// flawLength: FILESIGNATURELENGTH is not the length of the longest signature.
	flawLength Flaw = "wrong-length"
	// flawUpperCase: signatures are not in lower case.
	flawUpperCase Flaw = "upper-case"
	// flawNoDigest: files that state no digest (directories, symbolic links) have
	// signatures, of nothing.
	flawNoDigest Flaw = "signature-without-digest"
	// flawByteOrder: signatures whose length is little-endian; the kernel refuses
	// them.
	flawByteOrder Flaw = "byte-order"
	// flawValue: signatures that are no security.ima value at all.
	flawValue Flaw = "not-a-signature"
	// flawOutside: tags lie outside of the signature header's region.
	flawOutside Flaw = "outside-region"
	// flawUnsorted: the signature header's tags are not in order.
	flawUnsorted Flaw = "unsorted"
	// flawUndigested: the header states no digest of regular files, or zeros, so that
	// they cannot be signed.
	flawUndigested Flaw = "file-without-digest"
)

// Defect is a flaw found in one package.
type Defect struct {
	Flaw   Flaw
	Detail string // in English, without the package's path; parts of it may come from the package
}

// fileSignatures is what the headers say about the signatures of files.
type fileSignatures struct {
	present bool
	values  [][]byte // by file; nil where there is none, or where rpm takes none
	defects []Defect
}

// of returns the signature of the file at i, nil for none.
func (s *fileSignatures) of(i int) []byte {
	if s.values == nil {
		return nil
	}
	return s.values[i]
}

func (s *fileSignatures) flaw(f Flaw, format string, args ...any) {
	s.defects = append(s.defects, Defect{f, fmt.Sprintf(format, args...)})
}

// readFileSignatures reads the signatures of files, from where rpm takes them, and
// everything that is wrong with them.
func (p *Package) readFileSignatures() fileSignatures {
	list, length := p.taken(tagFileSignatures), p.taken(tagFileSignatureLength)
	s := fileSignatures{present: list.there() || length.there()}
	s.checkDigests(p.files)
	if !s.present {
		return s
	}
	s.checkPlace(p)
	if s.values = s.read(list, length, p.files); s.values == nil {
		return s
	}
	s.checkLength(length)
	s.checkValues(p.files)
	return s
}

func (s *fileSignatures) checkDigests(files []file) {
	n, first := 0, ""
	for i := range files {
		if files[i].undigested() {
			if n++; n == 1 {
				first = files[i].Path
			}
		}
	}
	if n > 0 {
		s.flaw(flawUndigested, "nothing can be signed of %d regular files, %s the first; rpm refuses to install them", n, first)
	}
}

func (s *fileSignatures) read(list, length place, files []file) [][]byte {
	for _, at := range []place{list, length} {
		if n := at.h.times(at.tag); n > 1 {
			s.flaw(flawRepeated, "%s is there %d times", signatureTagName(at.tag), n)
		}
	}
	if list.h.times(list.tag) > 1 {
		return nil
	}
	e, ok := list.entry()
	if !ok {
		s.flaw(flawLength, "FILESIGNATURELENGTH without FILESIGNATURES")
		return nil
	}
	if e.typ != typeStringArray {
		s.flaw(flawType, "FILESIGNATURES has type %d, not an array of strings", e.typ)
		return nil
	}
	texts := list.h.strings(list.tag)
	if len(texts) != len(files) {
		s.flaw(flawCount, "%d signatures for %d files", len(texts), len(files))
		return nil
	}
	return s.decode(texts, files)
}

func (h *header) times(t tagNumber) (n int) {
	for _, e := range h.entries {
		if e.tag == t {
			n++
		}
	}
	return n
}

func (s *fileSignatures) decode(texts []string, files []file) [][]byte {
	values, upper := make([][]byte, len(texts)), 0
	for i, text := range texts {
		if text == "" {
			continue
		}
		value, err := hex.DecodeString(text)
		if err != nil {
			s.flaw(flawHex, "that of %s: %v", files[i].Path, err)
			return nil
		}
		if text != strings.ToLower(text) {
			upper++
		}
		values[i] = value
	}
	if upper > 0 {
		s.flaw(flawUpperCase, "%d signatures", upper)
	}
	return values
}

func (s *fileSignatures) checkPlace(p *Package) {
	switch {
	case p.doubled():
		s.flaw(FlawBoth, "rpm 4.17 and later refuse such a package; rpm strip removes the copy in the signature header")
	case p.taken(tagFileSignatures).inMain(), p.taken(tagFileSignatureLength).inMain():
		s.flaw(FlawMain, "where rpm 4.13 wrote them: they can be verified, not replaced")
	}
	h, outside, unsorted := p.sig, 0, false
	for i, e := range h.entries {
		ours := e.tag == tagFileSignatures || e.tag == tagFileSignatureLength
		if ours && (h.inRegion == 0 || i >= h.inRegion) {
			outside++
		}
		unsorted = unsorted || ours && i > 0 && h.entries[i-1].tag > e.tag
	}
	if outside > 0 || unsorted {
		if base, _ := h.withoutInserted(); base != nil {
			return // the header was like that before it was signed
		}
	}
	if outside > 0 {
		s.flaw(flawOutside, "%d of the tags with file signatures", outside)
	}
	if unsorted {
		s.flaw(flawUnsorted, "the tags with file signatures come after higher ones")
	}
}

func (s *fileSignatures) checkLength(length place) {
	longest := longestValue(s.values)
	e, there := length.entry()
	n, _ := length.h.number(length.tag)
	switch {
	case !there && longest > 0:
		s.flaw(flawNoLength, "FILESIGNATURELENGTH is missing")
	case there && (e.typ != typeInt32 || e.count != 1):
		s.flaw(flawType, "FILESIGNATURELENGTH has type %d and %d items, not one 32-bit number", e.typ, e.count)
	case there && n != uint64(longest):
		s.flaw(flawLength, "FILESIGNATURELENGTH is %d, the longest signature has %d bytes", n, longest)
	}
}

// checkValues looks at the signatures by themselves; whether they hold is for a
// verification.
func (s *fileSignatures) checkValues(files []file) {
	noDigest, order, unreadable := 0, 0, 0
	for i, v := range s.values {
		if v == nil {
			continue
		}
		if files[i].Digest == nil {
			noDigest++
			continue
		}
		switch _, err := ima.Parse(v); ima.Reason(err) {
		case "":
		case string(ima.ErrByteOrder):
			order++
		default:
			unreadable++
		}
	}
	for _, c := range []struct {
		n    int
		flaw Flaw
		text string
	}{
		{noDigest, flawNoDigest, "%d files without a digest have a signature"},
		{order, flawByteOrder, "%d signatures have a little-endian length"},
		{unreadable, flawValue, "%d values are not of security.ima"},
	} {
		if c.n > 0 {
			s.flaw(c.flaw, c.text, c.n)
		}
	}
}

// Harmless reports whether rpm and the kernel take the signatures all the same.
func (f Flaw) Harmless() bool {
	return f == flawOutside || f == flawUnsorted || f == flawUpperCase || f == FlawMain
}
