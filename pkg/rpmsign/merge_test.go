package rpmsign

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// rpmSees asks rpm for the file signatures of a package, and whether it reads the package.
func rpmSees(t testing.TB, path string) (list []string, reads bool) {
	t.Helper()
	cmd := exec.Command("rpm", "-qp", "--nosignature", "--qf", "%{NAME}\n[%{FILESIGNATURES}\n]", path)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err != nil {
		return nil, false
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if list = lines[1:]; slices.Equal(list, []string{"(none)"}) || slices.Equal(list, []string{""}) {
		list = nil
	}
	return list, true
}

// ours returns the file signatures that this package reads, as rpm prints them.
func ours(p *Package) (list []string) {
	if p.signaturesIn() == "" {
		return nil
	}
	for _, v := range p.values.values {
		list = append(list, hex.EncodeToString(v))
	}
	return list
}

// signatureTags returns the tags of a package signed by the key called name, with their
// numbers in the signature header or the main header.
func signatureTags(t testing.TB, name string, list, length uint32) [2]packages.Tag {
	t.Helper()
	path := packages.Copy(t, "zstd", t.TempDir())
	run(t, signer(t, name), path)
	f, err := packages.Read(path)
	check(t, err)
	a, _ := packages.Find(f.Signature, packages.TagFileSignatures)
	b, _ := packages.Find(f.Signature, packages.TagFileSignatureLength)
	a.Tag, b.Tag = list, length
	return [2]packages.Tag{a, b}
}

// TestFileSignaturesInMainHeader checks that rpm and Package read the same file signatures
// from either header, and that rpm reads the changed package.
func TestFileSignaturesInMainHeader(t *testing.T) {
	inMain := signatureTags(t, "p256", uint32(tagMainFileSignatures), uint32(tagMainFileSignatureLength))
	other := signatureTags(t, "rsa2048", uint32(tagMainFileSignatures), uint32(tagMainFileSignatureLength))
	inSignature := signatureTags(t, "p256", packages.TagFileSignatures, packages.TagFileSignatureLength)
	kinds := []struct {
		name string
		main [2]packages.Tag
	}{{"own", inMain}, {"other", other}}
	for _, kind := range kinds {
		for choice := range 16 {
			f := parts(t, "zstd")
			for i := range 2 {
				if choice&(1<<i) != 0 {
					f.Header = insert(f.Header, kind.main[i])
				}
				if choice&(4<<i) != 0 {
					f.Signature = insert(f.Signature, inSignature[i])
				}
			}
			t.Run(fmt.Sprintf("%s-%04b", kind.name, choice), func(t *testing.T) {
				t.Parallel()
				agreed(t, put(t, f.Pack()))
			})
		}
	}
}

// agreed compares a package with rpm, as it is and after signing, stripping and signing with
// other signatures.
func agreed(t *testing.T, path string) {
	t.Helper()
	before := content(t, path)
	want, reads := rpmSees(t, path)
	p := mustParse(t, before)
	broken := slices.ContainsFunc(p.Defects(), func(d Defect) bool { return d.Flaw == FlawBoth })
	if broken == reads {
		t.Errorf("rpm reads it: %t, defects %v", reads, p.Defects())
	}
	if got := ours(p); reads && !slices.Equal(got, want) {
		t.Errorf("%d signatures in the %s header, rpm has %d", len(got), p.signaturesIn(), len(want))
	}
	for name, s := range map[string]*loop{"sign": signer(t, "p256"), "strip": stripper(t), "OpenPGP": withOpenPGP(t, signer(t, "p256"))} {
		to := put(t, before)
		r := s.Run(t.Context(), unit{Path: to})
		after := content(t, to)
		if r.Err != nil {
			if !errors.Is(r.Err, ErrMainHeader) || !slices.Equal(after, before) {
				t.Errorf("%s: %v", name, r.Err)
			}
			continue
		}
		got, reads := rpmSees(t, to)
		if p := mustParse(t, after); !reads || !slices.Equal(ours(p), got) {
			t.Errorf("%s made a package that rpm reads: %t; %d signatures, rpm has %d", name, reads, len(ours(p)), len(got))
		}
		if name == "strip" {
			continue
		}
		if n := verify(t, to, "p256"); n != 4 {
			t.Errorf("%s: %d files are signed", name, n)
		}
		if r := s.Run(t.Context(), unit{Path: to}); r.Err != nil || r.Changed {
			t.Errorf("%s, again: changed %t, %v", name, r.Changed, r.Err)
		}
	}
}

func withOpenPGP(t *testing.T, s *loop) *loop {
	t.Helper()
	s.Options.OpenPGP = readKey(t, content(t, vectors+"keys/openpgp-ed25519.secret.asc"), "")
	return s
}

// TestMergedTags checks that a package is malformed if its main header has a tag that rpm
// accepts only in the signature header.
func TestMergedTags(t *testing.T) {
	types := map[dataType]packages.Tag{
		typeInt32:       {Type: packages.TypeInt32, Count: 1, Data: int32s(4)},
		typeInt64:       {Type: uint32(typeInt64), Count: 1, Data: int32s(0, 4)},
		typeString:      {Type: packages.TypeString, Count: 1, Data: strings0("text")},
		typeBin:         {Type: packages.TypeBinary, Count: 4, Data: int32s(4)},
		typeStringArray: {Type: packages.TypeStringArray, Count: 1, Data: strings0("text")},
	}
	for _, m := range mergedTags() {
		if m.signature == tagFileSignatures || m.signature == tagFileSignatureLength {
			continue
		}
		typ := typeInt32
		switch m.signature {
		case tagPGP, tagMD5, tagGPG, tagDSA, tagRSA:
			typ = typeBin
		case tagSHA1, tagSHA256, tagSHA3:
			typ = typeString
		case tagVeritySignatures, tagOpenPGP:
			typ = typeStringArray
		case tagLongSize, tagLongArchiveSize:
			typ = typeInt64
		}
		for _, both := range []bool{false, true} {
			f := parts(t, "zstd")
			tag := types[typ]
			tag.Tag = uint32(m.main)
			f.Header = insert(f.Header, tag)
			f.Signature = packages.Without(f.Signature, uint32(m.signature))
			if both {
				if was, there := packages.Find(parts(t, "zstd").Signature, uint32(m.signature)); there {
					tag = was
				}
				tag.Tag = uint32(m.signature)
				f.Signature = insert(f.Signature, tag)
			}
			b := f.Pack()
			_, reads := rpmSees(t, put(t, b))
			newer := m.signature == tagSHA3 || m.signature == tagOpenPGP // unknown to the rpm of this machine
			if _, err := parsed(b); reads && !newer && err != nil || !reads && !refused(err) {
				t.Errorf("%s in the main header, in both %t: rpm reads it: %t; %v", signatureTagName(m.signature), both, reads, err)
			} else if newer && !refused(err) {
				t.Errorf("%s: %v", signatureTagName(m.signature), err)
			}
		}
	}
}

// TestMergedTypes checks that rpm refuses a package if a tag of its signature header has a
// type or length that it does not merge.
func TestMergedTypes(t *testing.T) {
	for _, tag := range []packages.Tag{
		{Tag: uint32(tagVeritySignatures), Type: packages.TypeString, Count: 1, Data: strings0("a")},
		{Tag: uint32(tagVerityAlgorithm), Type: packages.TypeInt32, Count: 2, Data: int32s(1, 1)},
		{Tag: uint32(tagVerityAlgorithm), Type: packages.TypeInt16, Count: 1, Data: []byte{0, 1}},
		{Tag: packages.TagFileSignatureLength, Type: packages.TypeInt32, Count: 2, Data: int32s(1, 1)},
		{Tag: packages.TagFileSignatures, Type: packages.TypeString, Count: 1, Data: strings0("a")},
	} {
		f := parts(t, "zstd")
		f.Signature = insert(f.Signature, tag)
		b := f.Pack()
		path := put(t, b)
		if _, reads := rpmSees(t, path); reads {
			t.Errorf("rpm reads tag %d of type %d", tag.Tag, tag.Type)
		}
		p, err := parsed(b)
		if err == nil {
			if !slices.ContainsFunc(p.Defects(), func(d Defect) bool { return !d.Flaw.Harmless() }) {
				t.Errorf("tag %d of type %d: %v", tag.Tag, tag.Type, p.Defects())
			}
			run(t, signer(t, "p256"), path)
			if _, reads := rpmSees(t, path); !reads {
				t.Errorf("tag %d is not mended", tag.Tag)
			}
		}
	}
}
