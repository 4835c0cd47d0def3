package rpmsign

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Flaw is a fault in the file signatures of a package: a stable word for scripts, such as
// "signature-count". docs/rpm.md lists them. Signatures that rpm ignores count as missing.
type Flaw string

// Flaws that a new signature does not repair.
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
	// flawRepeated: there are several FILESIGNATURES or FILESIGNATURELENGTH, as rpmsign
	// leaves them after --delsign. Which one rpm uses depends on its version.
	flawRepeated Flaw = "repeated-tag"
	// flawType: one of the two tags has a type that rpm does not read.
	flawType Flaw = "wrong-type"
	// flawNoLength: FILESIGNATURELENGTH is missing. rpm before 4.19 finds no signatures
	// without it.
	flawNoLength Flaw = "no-length"
	// flawLength: FILESIGNATURELENGTH is not the length of the longest signature.
	flawLength Flaw = "wrong-length"
	// flawUpperCase: signatures are not in lower case.
	flawUpperCase Flaw = "upper-case"
	// flawNoDigest: files without a digest (directories, symbolic links) have signatures.
	flawNoDigest Flaw = "signature-without-digest"
	// flawByteOrder: signatures have a little-endian length. The kernel refuses them.
	flawByteOrder Flaw = "byte-order"
	// flawValue: signatures are not security.ima values.
	flawValue Flaw = "not-a-signature"
	// flawOutside: tags lie outside the region of the signature header.
	flawOutside Flaw = "outside-region"
	// flawUnsorted: the signature header's tags are not in order.
	flawUnsorted Flaw = "unsorted"
	// flawUndigested: the header states no digest of regular files, or zeros. They cannot
	// be signed.
	flawUndigested Flaw = "file-without-digest"
)

// Defect is a flaw found in one package.
type Defect struct {
	Flaw   Flaw
	Detail string // in English, without the path of the package; it can quote the package
}

// fileSignatures is what the headers say about the signatures of files.
type fileSignatures struct {
	present bool
	values  [][]byte // by file; nil for a file without one, and if rpm reads none
	defects []Defect
}

// of returns the signature of the file at i, or nil if it has none.
func (s *fileSignatures) of(i int) []byte {
	if s.values == nil {
		return nil
	}
	return s.values[i]
}

func (s *fileSignatures) flaw(f Flaw, format string, args ...any) {
	s.defects = append(s.defects, Defect{f, fmt.Sprintf(format, args...)})
}

// readFileSignatures reads the signatures of files from the header that rpm reads them from,
// and finds their flaws.
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
		s.flaw(flawUndigested, "%d regular files cannot be signed, and rpm refuses to install them; %s is the first", n, first)
	}
}

func (s *fileSignatures) read(list, length place, files []file) [][]byte {
	for _, at := range []place{list, length} {
		if n := at.h.times(at.tag); n > 1 {
			s.flaw(flawRepeated, "%s occurs %d times", signatureTagName(at.tag), n)
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
			s.flaw(flawHex, "the signature of %s: %v", files[i].Path, err)
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
		s.flaw(FlawMain, "rpm 4.13 wrote them there: they can be verified, but not replaced")
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
			return // the original header had the same layout
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

// checkValues checks the format of the signatures. It does not verify them.
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
		{unreadable, flawValue, "%d values are not security.ima values"},
	} {
		if c.n > 0 {
			s.flaw(c.flaw, c.text, c.n)
		}
	}
}

// Harmless reports whether rpm and the kernel accept the signatures despite the flaw.
func (f Flaw) Harmless() bool {
	return f == flawOutside || f == flawUnsorted || f == flawUpperCase || f == FlawMain
}
