package rpmsign

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"iter"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var _ signing.Source = (*Package)(nil)

// Entries lists the package's files in the order of the header. Files without a digest
// (directories, symbolic links, devices, %ghost) have a Reason. Owners are left out, because
// a package has only their names. Traits tell which files are ELF files if the header does.
//
// Of the contents, only those that could be signed twice are read (signing.ErrDoubleUse),
// from the payload. A payload that cannot be read is an error of these entries.
func (p *Package) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		doubles, may, origin := &doubleUses{ctx: ctx, of: p}, mayDouble(p.files), p.origin
		for i := range p.files {
			if ctx.Err() != nil {
				yield(signing.Entry{}, context.Cause(ctx))
				return
			}
			e := p.entry(i)
			e.Origin = origin
			if may[i] {
				e.DoubleUse = doubles.file(&p.files[i])
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (p *Package) entry(i int) signing.Entry {
	f := &p.files[i]
	e := signing.Entry{Path: f.Path, Mode: f.Mode, Size: f.Size, Device: f.Device, Traits: f.traits}
	if f.Mode&fs.ModeSymlink != 0 {
		e.Target = f.Link
	}
	if f.Digest == nil {
		e.Reason = f.unsigned()
		return e
	}
	e.Digests = []signing.Digest{{Hash: f.Hash, Sum: f.Digest}}
	if v := p.values.of(i); v != nil {
		e.Xattrs = map[string][]byte{ima.XattrIMA: v}
	}
	return e
}

// unsigned returns the reason why a file has no digest.
func (f *file) unsigned() string {
	switch {
	case !f.Mode.IsRegular():
		return manifest.Kind(f.Mode)
	case f.Flags&fileGhost != 0:
		return "ghost"
	}
	return "no digest"
}

func fileSignatureTags() []tagNumber { return []tagNumber{tagFileSignatures, tagFileSignatureLength} }

// fileSignatureValues returns FILESIGNATURES and FILESIGNATURELENGTH as rpm's
// sign/rpmsignfiles.cc writes them: lower-case hex, "" for a file without a signature, and
// the length of the longest value in bytes, unless nothing is signed. It returns nothing
// for a package without files.
func fileSignatureValues(values [][]byte) []value {
	if len(values) == 0 {
		return nil
	}
	longest, size := 0, 0
	for _, v := range values {
		longest = max(longest, len(v))
		size += 2*len(v) + 1
	}
	text := make([]byte, 0, size)
	for _, v := range values {
		text = append(hex.AppendEncode(text, v), 0)
	}
	list := []value{{tagFileSignatures, typeStringArray, uint32(len(values)), text}}
	if longest > 0 {
		length := binary.BigEndian.AppendUint32(nil, uint32(longest))
		list = append(list, value{tagFileSignatureLength, typeInt32, 1, length})
	}
	return list
}
