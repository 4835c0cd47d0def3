package rpmsign

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Level says how much of a package is checked, as a word for command lines.
type Level string

// The levels; each checks what the one before does.
const (
	// CheckHeader compares the digests of the main header and the length of the file. In
	// packages without a digest of only the main header (before rpm 4), it also reads the
	// payload.
	CheckHeader Level = "header"
	// CheckPayload reads the payload and compares all digests that cover it.
	CheckPayload Level = "payload"
	// CheckFiles unpacks the payload and computes every file's digest.
	CheckFiles Level = "files"
)

// Check compares the package with the sizes and digests that it states. Errors wrap
// ErrTruncated, ErrOversized, ErrMalformed, or ErrDigest if a digest does not match or
// covers too little. An unknown level is an error.
func (p *Package) Check(ctx context.Context, l Level) error {
	var err error
	switch l {
	case CheckHeader, CheckPayload, CheckFiles:
		err = p.checkSizes()
	default:
		err = fmt.Errorf("there is no level %q", l)
	}
	if err == nil {
		err = p.checkHeader()
	}
	if err == nil && (l != CheckHeader || len(p.headerDigests()) == 0) {
		err = p.checkPayload(ctx)
	}
	if err == nil && l == CheckFiles {
		err = p.checkFiles(ctx)
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", p.path, err)
	}
	return nil
}

// checkSizes compares the length of the file with the sizes that the headers state.
func (p *Package) checkSizes() error {
	for _, c := range []struct {
		h    *header
		tag  tagNumber
		size int64
		what string
	}{
		{p.sig, tagSize, p.size - p.mainAt, "main header and payload"},
		{p.sig, tagLongSize, p.size - p.mainAt, "main header and payload"},
		{p.main, tagCompressedSize, p.size - p.payload, "payload"},
	} {
		stated, there := c.h.size(c.tag)
		switch {
		case !there || stated == c.size:
		case stated > c.size:
			return fmt.Errorf("%w: it has %d of the %d bytes of its %s", ErrTruncated, c.size, stated, c.what)
		default:
			return fmt.Errorf("%w: %d bytes follow the %d bytes of its %s", ErrOversized, c.size-stated, stated, c.what)
		}
	}
	return nil
}

// stated is a digest in hex that a package states. name says what it covers.
type stated struct {
	name, digest string
	hash         hash.Hash
}

func (s *stated) check() error {
	// Like rpm, ignore the case.
	if got := hex.EncodeToString(s.hash.Sum(nil)); !strings.EqualFold(got, s.digest) {
		return fmt.Errorf("%w: %s is %s, the package states %s", ErrDigest, s.name, got, s.digest)
	}
	return nil
}

// digestTag is a tag with a digest in hex.
type digestTag struct {
	tag  tagNumber
	name string
	hash func() hash.Hash
}

// stated returns those of the digests that the header has.
func (h *header) stated(tags ...digestTag) (list []stated) {
	for _, d := range tags {
		if h.has(d.tag) {
			list = append(list, stated{d.name, h.text(d.tag), d.hash()})
		}
	}
	return list
}

func newSHA3() hash.Hash { return sha3.New256() }

// headerDigests returns the digests over the main header.
func (p *Package) headerDigests() []stated {
	return p.sig.stated(
		digestTag{tagSHA1, "SHA-1 of the main header", sha1.New},
		digestTag{tagSHA256, "SHA-256 of the main header", sha256.New},
		digestTag{tagSHA3, "SHA3-256 of the main header", newSHA3},
	)
}

func (p *Package) checkHeader() error {
	list := p.headerDigests()
	if len(list) == 0 && !p.sig.has(tagMD5) {
		return fmt.Errorf("%w: the package states no digest of its main header", ErrDigest)
	}
	for i := range list {
		list[i].hash.Write(p.main.raw)
		if err := list[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// payloadDigests returns the digests over only the payload.
func (p *Package) payloadDigests() ([]stated, error) {
	list := p.main.stated(
		digestTag{tagPayloadSHA256, "SHA-256 of the payload", sha256.New},
		digestTag{tagPayloadSHA512, "SHA-512 of the payload", sha512.New},
		digestTag{tagPayloadSHA3, "SHA3-256 of the payload", newSHA3},
	)
	if n, ok := p.main.number(tagPayloadSHA256Algo); ok && n != 8 && p.main.has(tagPayloadSHA256) {
		id, known := hashOf(n)
		h, computable := id.CryptoHash()
		if !known || !computable || !h.Available() {
			return nil, fmt.Errorf("%w: the payload's digest has algorithm %d", ErrMalformed, n)
		}
		list[0].name, list[0].hash = id.String()+" of the payload", h.New()
	}
	return list, nil
}

// checkPayload reads the payload once and compares all digests that cover it.
func (p *Package) checkPayload(ctx context.Context) error {
	list, err := p.payloadDigests()
	if err != nil {
		return err
	}
	if e, ok := p.sig.find(tagMD5); ok {
		whole := stated{"MD5 of main header and payload", hex.EncodeToString(p.sig.bytes(e)), md5.New()}
		whole.hash.Write(p.main.raw)
		list = append(list, whole)
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: the package states no digest of its payload", ErrDigest)
	}
	content := io.NewSectionReader(p.content, p.payload, p.size-p.payload)
	buf := make([]byte, 256<<10)
	for {
		n, err := content.Read(buf)
		for i := range list {
			list[i].hash.Write(buf[:n])
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the payload: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// checkSignatureTypes checks that tags of the signature header have the types and sizes that
// rpm demands (rpmvfytags of lib/rpmvs.cc, and where rpm merges the headers).
func checkSignatureTypes(h *header) error {
	for _, e := range h.entries {
		var typ dataType
		var length uint32
		switch e.tag {
		case tagSHA1:
			typ, length = typeString, 41
		case tagSHA256, tagSHA3:
			typ, length = typeString, 65
		case tagMD5:
			typ, length = typeBin, 16
		case tagSize, tagPayloadSize:
			typ, length = typeInt32, 4
		case tagLongSize, tagLongArchiveSize:
			typ, length = typeInt64, 8
		case tagDSA, tagRSA, tagPGP, tagGPG, tagReserved, tagReservedSpace:
			typ, length = typeBin, e.length
		case tagOpenPGP, tagVeritySignatures:
			typ, length = typeStringArray, e.length
		case tagVerityAlgorithm:
			typ, length = typeInt32, 4
		default:
			continue
		}
		if e.typ != typ || e.length != length {
			return fmt.Errorf("signature header: %w: %s has type %d and %d bytes, not type %d and %d bytes",
				ErrMalformed, signatureTagName(e.tag), e.typ, e.length, typ, length)
		}
	}
	return nil
}
