package rpmsign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Info describes a package and its signatures, as stated by its headers.
type Info struct {
	Name       string // name-version-release.arch
	Summary    string // like Vendor and License, "" if it is missing or over 64 KiB
	Vendor     string
	License    string
	Built      time.Time // UTC, to the second; zero if it is not stated
	Format     int       // 3, 4 or 6
	Source     bool      // whether it is a source package
	Size       int64     // bytes of the file
	Signature  int       // bytes of the signature header, without padding
	Reserve    int       // bytes that signatures can take without making the package larger
	Main       int       // bytes of the main header
	Payload    int64     // bytes, as compressed
	Compressor string    // rpm's name of it, such as "zstd"; "" if it is not stated
	Tags       []string  // rpm's names of the tags in the signature header, in its order
	Hash       string    // of file digests, such as "sha256"; "" without files
	Files      int       // files, including directories and links
	Digests    int       // files with a digest, which can be signed
	Signed     int       // files with a signature
	Length     int       // FILESIGNATURELENGTH: bytes of the longest signature
	KeyIDs     []string  // of the file signatures, distinct and sorted: eight hex digits each
	Versions   []int     // of the file signatures, distinct and sorted: 2 and 3; 1 in legacy ones
	// In is the header with the file signatures: "signature", "main" (written by rpm before
	// 4.14), "both" (rpm refuses the package), or "" if there are none.
	In      string
	OpenPGP []Signer // who signed the package
	Verity  bool     // whether it has fs-verity signatures
	Defects []Defect // of the file signatures

	base string // name without version
	evr  evr
}

// Signer is who made an OpenPGP signature, and over what.
type Signer struct {
	Tag       string    // rpm's name of its tag, such as "RSAHEADER"
	KeyID     string    // sixteen hex digits, "" if none is stated, or why the signature cannot be read
	Algorithm string    // of the key, such as "EdDSA"
	Hash      string    // such as "sha256"; "" if this program does not know it
	Date      time.Time // UTC, to the second
}

// Info describes the package. It verifies nothing.
func (p *Package) Info() Info {
	tag, reserve := p.sig.reserve()
	info := Info{
		Name: p.Name(), Format: p.format(), Source: p.Source(), Size: p.size, Signature: len(p.sig.raw), Reserve: max(0, reserve-1),
		Main: len(p.main.raw), Payload: p.size - p.payload, Compressor: p.main.text(tagPayloadCompressor), Files: len(p.files),
		KeyIDs: []string{}, Versions: []int{}, OpenPGP: p.signers(), Verity: p.sig.has(tagVeritySignatures), Defects: append([]Defect{}, p.values.defects...),
		In: p.signaturesIn(),
	}
	if tag == 0 {
		info.Reserve = 0
	}
	for _, e := range p.sig.entries {
		info.Tags = append(info.Tags, signatureTagName(e.tag))
	}
	if len(p.files) > 0 {
		info.Hash = p.hash().String()
	}
	length := p.taken(tagFileSignatureLength)
	if n, ok := length.h.number(length.tag); ok {
		info.Length = int(min(n, 1<<31))
	}
	p.count(&info)
	info.base = p.main.text(tagName)
	info.Summary, info.Vendor, info.License = p.main.line(tagSummary), p.main.line(tagVendor), p.main.line(tagLicense)
	epoch, _ := p.main.number(tagEpoch)
	info.evr = evr{int(min(epoch, math.MaxInt32)), p.main.line(tagVersion), p.main.line(tagRelease)}
	if e, ok := p.main.find(tagBuildTime); ok && e.typ == typeInt32 {
		n, _ := p.main.number(tagBuildTime)
		info.Built = time.Unix(int64(n), 0).UTC()
	}
	return info
}

// maxLine limits the strings that describe a package and those that order packages.
const maxLine = 64 << 10

// line returns the first string of a tag, or "" if the tag is missing or over maxLine bytes.
func (h *header) line(t tagNumber) string {
	if e, ok := h.find(t); !ok || e.length > maxLine {
		return ""
	}
	return h.text(t)
}

func (p *Package) count(info *Info) {
	ids, versions := map[string]bool{}, map[int]bool{}
	for i := range p.files {
		if p.files[i].Digest != nil {
			info.Digests++
		}
		if p.values.values == nil || p.values.values[i] == nil {
			continue
		}
		info.Signed++
		if v, err := ima.Parse(p.values.values[i]); err == nil && v.IsSignature() {
			ids[v.KeyID.String()], versions[int(v.Version)] = true, true
		}
	}
	info.KeyIDs = append(info.KeyIDs, slices.Sorted(maps.Keys(ids))...)
	info.Versions = append(info.Versions, slices.Sorted(maps.Keys(versions))...)
}

// Defects returns the faults in the package's file signatures.
func (p *Package) Defects() []Defect { return p.values.defects }

// signers lists the OpenPGP signatures.
func (p *Package) signers() []Signer {
	list := []Signer{}
	for _, t := range []tagNumber{tagRSA, tagDSA, tagPGP, tagGPG} {
		if e, ok := p.sig.find(t); ok {
			list = append(list, signersOf(t, p.sig.bytes(e))...)
		}
	}
	for _, b := range p.base64Signatures() {
		list = append(list, signersOf(tagOpenPGP, b)...)
	}
	return list
}

func signersOf(t tagNumber, packets []byte) []Signer {
	var list []Signer
	for r := packet.NewReader(bytes.NewReader(packets)); ; {
		next, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			return append(list, Signer{Tag: signatureTagName(t), KeyID: "unreadable: " + err.Error()})
		}
		if s, ok := next.(*packet.Signature); ok {
			list = append(list, signerOf(t, s))
		}
	}
}

func signerOf(t tagNumber, s *packet.Signature) Signer {
	signer := Signer{Tag: signatureTagName(t), Algorithm: openPGPAlgorithm(s.PubKeyAlgo), Date: s.CreationTime.UTC()}
	if s.Hash.Available() {
		signer.Hash = strings.ToLower(s.Hash.String())
	}
	if s.IssuerKeyId != nil {
		signer.KeyID = fmt.Sprintf("%016x", *s.IssuerKeyId)
	}
	return signer
}

func openPGPAlgorithm(a packet.PublicKeyAlgorithm) string {
	switch a {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		return "RSA"
	case packet.PubKeyAlgoDSA:
		return "DSA"
	case packet.PubKeyAlgoECDSA:
		return "ECDSA"
	case packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519:
		return "EdDSA"
	}
	return fmt.Sprintf("algorithm %d", a)
}
