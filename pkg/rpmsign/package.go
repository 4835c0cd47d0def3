package rpmsign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// leadSize is the length of the lead, the start of a package. rpm checks only its magic,
// and up to 4.18 two more fields (lib/rpmlead.c).
const (
	leadSize  = 96
	leadMagic = "\xed\xab\xee\xdb"
)

// How many bytes of data in a signature header versions of rpm accept (hdrblobInit of
// rpm's lib/header.c).
const (
	limit8K  = 8 << 10  // rpm 4.14: about 7 RSA-2048 signatures beside the usual reserve
	limit64K = 64 << 10 // rpm 4.15
	limit64M = 64 << 20 // rpm 4.16 and later
)

// Options of Open. The zero value reads packages and writes them in place.
type Options struct {
	// Output is the path to write the package to; "" writes it in place.
	Output string
	// Outside, unless "", is the real path of a package that a symbolic link leads to, outside
	// the paths that the user named. Such a package is read, but not changed (ErrOutside).
	Outside string
	// Share makes Output a hard link to a package that needs no change.
	Share bool
	// MaxHeader limits the bytes of data in a signature header that is written. rpm 4.14
	// accepts 8 KiB, 4.15 64 KiB, and 4.16 and later 64 MiB. Zero means 64 MiB.
	MaxHeader uint32
	// OpenPGP, unless nil, replaces the package's OpenPGP signatures when it is written.
	OpenPGP *OpenPGPKey
	// Observe gets progress and warnings, from any goroutine.
	Observe signing.Observer
}

// Package is an open package. Only one goroutine at a time may call its methods.
type Package struct {
	path    string
	options Options
	file    *os.File
	stat    os.FileInfo
	content io.ReaderAt // the file
	size    int64
	lead    []byte
	sig     *header
	pad     []byte // behind it
	main    *header
	mainAt  int64 // offsets in the file
	payload int64
	files   []file
	values  fileSignatures
	origin  *ima.Origin
	doubles map[string]bool // what doubleUses finds, if Check has read the payload's files
}

// Open opens the package at path, which must be a regular file, and checks the structure
// of its headers. Check compares the digests that they state. The caller closes the
// package. Errors wrap ErrNotRPM, ErrTruncated or ErrMalformed, or are those of opening
// the file.
func Open(path string, o Options) (*Package, error) {
	f, err := input.Regular(path)
	switch {
	case errors.Is(err, input.ErrNotRegular):
		return nil, fmt.Errorf("read: %w: %w", ErrNotRPM, err)
	case err != nil:
		return nil, err
	}
	p := &Package{path: path, options: o, file: f}
	if p.options.MaxHeader == 0 {
		p.options.MaxHeader = limit64M
	}
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", path, err), f.Close())
	}
	return p, nil
}

func (p *Package) open() error {
	var err error
	if p.stat, err = p.file.Stat(); err != nil {
		return err
	}
	return p.read(p.file, p.stat.Size())
}

// read parses the package in the first size bytes of r.
func (p *Package) read(r io.ReaderAt, size int64) error {
	p.content, p.size = r, size
	p.lead = make([]byte, leadSize)
	n, err := io.ReadFull(io.NewSectionReader(r, 0, size), p.lead)
	switch {
	case !bytes.HasPrefix(p.lead[:n], []byte(leadMagic)):
		return ErrNotRPM
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %d bytes", ErrTruncated, n)
	case err != nil:
		return err
	}
	if err := checkLead(p.lead); err != nil {
		return err
	}
	if p.sig, err = readHeader(r, leadSize, size, signatureLimits()); err != nil {
		return fmt.Errorf("signature header: %w", err)
	}
	p.mainAt = leadSize + padded(int64(len(p.sig.raw)))
	if p.pad, err = readPadding(r, leadSize+int64(len(p.sig.raw)), min(p.mainAt, size)); err != nil {
		return err
	}
	if p.main, err = readHeader(r, p.mainAt, size, mainLimits()); err != nil {
		return fmt.Errorf("main header: %w", err)
	}
	p.payload = p.mainAt + int64(len(p.main.raw))
	if err := p.checkMainRegion(); err != nil {
		return err
	}
	if err := checkSignatureTypes(p.sig); err != nil {
		return err
	}
	if p.files, err = readFiles(p.main); err != nil {
		return err
	}
	if err := p.checkMerged(); err != nil {
		return err
	}
	p.values = p.readFileSignatures()
	p.origin = &ima.Origin{Container: string(manifest.Package), Header: p.main.raw, Signature: slices.Concat(p.headerSignatures()...)}
	return nil
}

func readPadding(r io.ReaderAt, from, to int64) ([]byte, error) {
	pad := make([]byte, to-from)
	_, err := io.ReadFull(io.NewSectionReader(r, from, to-from), pad)
	return pad, err
}

// checkLead checks what rpmLeadCheck of rpm up to 4.18 does.
func checkLead(lead []byte) error {
	const major, signatureType, headerSignature = 4, 78, 5
	if v := lead[major]; v < 3 || v > 4 {
		return fmt.Errorf("lead: %w: version %d", ErrMalformed, v)
	}
	if t := binary.BigEndian.Uint16(lead[signatureType:]); t != headerSignature {
		return fmt.Errorf("lead: %w: signatures of type %d", ErrMalformed, t)
	}
	return nil
}

// padded rounds n up to a multiple of eight, as the signature header is padded.
func padded(n int64) int64 { return (n + 7) &^ 7 }

// checkMainRegion checks that the immutable region is the whole main header, which rpm
// demands of package files. rpm 3 wrote headers without one.
func (p *Package) checkMainRegion() error {
	if p.main.inRegion == 0 {
		return nil
	}
	if err := p.main.checkWholeRegion(); err != nil {
		return fmt.Errorf("main header: %w", err)
	}
	return nil
}

// checkWholeRegion checks that the immutable region is the whole header.
func (h *header) checkWholeRegion() error {
	if h.inRegion != len(h.entries) || int(h.regionData) != len(h.data) {
		return fmt.Errorf("%w: its immutable region covers %d of %d entries and %d of %d bytes",
			ErrMalformed, h.inRegion, len(h.entries), h.regionData, len(h.data))
	}
	return nil
}

// Close releases the package.
func (p *Package) Close() error { return p.file.Close() }

// Target returns the file that the package is written to.
func (p *Package) Target() string {
	if p.options.Output != "" {
		return p.options.Output
	}
	return p.path
}

// Name returns the package's name as rpm prints it: name-version-release.arch.
func (p *Package) Name() string {
	arch := p.main.text(tagArch)
	if p.Source() {
		arch = "src"
	}
	return fmt.Sprintf("%s-%s-%s.%s", p.main.text(tagName), p.main.text(tagVersion), p.main.text(tagRelease), arch)
}

// Source reports whether the package is a source package, by the rule of headerIsSource in
// rpm's lib/headerutil.cc.
func (p *Package) Source() bool {
	return p.main.has(tagSourcePackage) || !p.main.has(tagSourceRPM)
}

// format returns the version of the package's format: 6, 4, or 3 for packages without an
// immutable region.
func (p *Package) format() int {
	if n, ok := p.main.number(tagRPMFormat); ok && n < 100 {
		return int(n)
	}
	if p.main.inRegion == 0 {
		return 3
	}
	return 4
}

// hash returns the algorithm of the package's file digests: SHA-256 for a package without
// files.
func (p *Package) hash() ima.HashID {
	if len(p.files) == 0 {
		return ima.SHA256
	}
	return p.files[0].Hash
}

// unchanged checks that the open file was not written to since Open, and that the path
// still leads to it.
func (p *Package) unchanged() error {
	now, err := p.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	was, is := p.stat.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	switch {
	case !os.SameFile(p.stat, there):
		return fmt.Errorf("%w: another file took its place", ErrChanged)
	case was.Size != is.Size || was.Mtim != is.Mtim || was.Ctim != is.Ctim:
		return fmt.Errorf("%w: it was written to", ErrChanged)
	}
	return nil
}
