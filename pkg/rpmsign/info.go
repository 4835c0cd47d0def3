package rpmsign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Info describes a package and its signatures.
type Info struct {
	Name       string // name-version-release.arch
	Summary    string
	Vendor     string
	License    string
	Built      time.Time
	Format     int // 3, 4 or 6
	Source     bool
	Size       int64 // bytes of the file
	Signature  int   // bytes, the region's among them, without padding
	Reserve    int   // bytes that signatures can take without making the package larger
	Main       int   // bytes
	Payload    int64 // bytes, as compressed
	Compressor string
	Tags       []string
	Hash       string
	Files      int
	Digests    int      // files with a digest, which can be signed
	Signed     int      // files with a signature
	Length     int      // FILESIGNATURELENGTH: bytes of the longest signature
	KeyIDs     []string // of the file signatures
	In         Header
	OpenPGP    []Signer // who signed the package
	Verity     bool     // fs-verity signatures are there
	Defects    []Defect // of the file signatures

	base string // name without version
	evr  evr
}

// Signer is who made an OpenPGP signature, and over what.
type Signer struct {
	Tag       string
	KeyID     string
	Algorithm string
	Hash      string
	Date      time.Time
}

// Info describes the package. Nothing is verified.
func (p *Package) Info() Info {
	tag, reserve := p.sig.reserve()
	info := Info{
		Name: p.Name(), Format: p.Format(), Source: p.Source(), Size: p.size, Signature: len(p.sig.raw), Reserve: max(0, reserve-1),
		Main: len(p.main.raw), Payload: p.size - p.payload, Compressor: p.main.text(tagPayloadCompressor), Files: len(p.files),
		KeyIDs: []string{}, OpenPGP: p.signers(), Verity: p.sig.has(tagVeritySignatures), Defects: append([]Defect{}, p.values.defects...),
		In: p.signaturesIn(),
	}
	if tag == 0 {
		info.Reserve = 0
	}
	for _, e := range p.sig.entries {
		info.Tags = append(info.Tags, signatureTagName(e.tag))
	}
	if len(p.files) > 0 {
		info.Hash = p.Hash().String()
	}
	length := p.taken(tagFileSignatureLength)
	if n, ok := length.h.number(length.tag); ok {
		info.Length = int(min(n, 1<<31))
	}
	p.count(&info)
	info.base = p.main.text(tagName)
	if m, err := p.metadata(); err == nil {
		info.evr = evr{m.Epoch(), m.Version(), m.Release()}
		info.Summary, info.Vendor, info.License = m.Summary(), m.Vendor(), m.License()
		if p.main.has(tagBuildTime) {
			info.Built = m.BuildTime().UTC()
		}
	}
	return info
}

func (p *Package) count(info *Info) {
	ids := map[string]bool{}
	for i := range p.files {
		if p.files[i].Digest != nil {
			info.Digests++
		}
		if p.values.values == nil || p.values.values[i] == nil {
			continue
		}
		info.Signed++
		if v, err := ima.Parse(p.values.values[i]); err == nil && v.IsSignature() {
			ids[v.KeyID.String()] = true
		}
	}
	info.KeyIDs = append(info.KeyIDs, slices.Sorted(maps.Keys(ids))...)
}

// Defects returns what is wrong with the package's file signatures.
func (p *Package) Defects() []Defect { return p.values.defects }

// signers lists the OpenPGP signatures.
func (p *Package) signers() []Signer {
	list := []Signer{}
	for _, t := range []Tag{tagRSA, tagDSA, tagPGP, tagGPG} {
		if e, ok := p.sig.find(t); ok {
			list = append(list, signersOf(t, p.sig.bytes(e))...)
		}
	}
	for _, b := range p.base64Signatures() {
		list = append(list, signersOf(tagOpenPGP, b)...)
	}
	return list
}

func signersOf(t Tag, packets []byte) []Signer {
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

func signerOf(t Tag, s *packet.Signature) Signer {
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
