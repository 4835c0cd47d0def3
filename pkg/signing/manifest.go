package signing

import (
	"cmp"
	"crypto/sha256"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Description is what a manifest says about its container.
type Description struct {
	Tool      string             // name and version of the program
	Container manifest.Container // the kind of container
	Name      string             // of the package or archive; "" for a tree
	Date      time.Time          // zero unless SOURCE_DATE_EPOCH states one
}

// WriteManifest writes the plan to w as the manifest of one container: a header line, and
// a line for each record. Lines are sorted by the bytes of the paths. Lines of equal paths
// stay in the container's order. The same content gives the same bytes at any number of
// jobs. To make a manifest of several containers, write several plans to w.
func (p *Plan) WriteManifest(w io.Writer, d Description) error {
	mw := manifest.NewWriter(w)
	header := manifest.Header{Tool: d.Tool, Container: d.Container, Name: d.Name, Date: d.Date, Hash: p.hash, Entries: p.entries}
	if p.public != nil {
		header.KeyID = p.public.ID()
		if cert := p.public.Certificate(); cert != nil {
			sum := sha256.Sum256(cert.Raw)
			header.Certificate = sum[:]
		}
		header.KeyFor = statedPurpose(p.public)
	}
	if err := mw.Header(header); err != nil {
		return err
	}
	for r, err := range p.byPath() {
		if err != nil {
			return err
		}
		if err := mw.Line(line(&r)); err != nil {
			return err
		}
	}
	return mw.Flush()
}

// statedPurpose returns the purpose that was stated for a key, or Unstated if its certificate or its
// algorithm states the same.
func statedPurpose(key *ima.PublicKey) ima.Purpose {
	own, err := ima.BareKey(key.Public())
	if cert := key.Certificate(); cert != nil {
		own, err = ima.CertificateKey(cert)
	}
	if err == nil && own.Purpose() == key.Purpose() {
		return ima.Unstated
	}
	return key.Purpose()
}

// byPath yields the records sorted by path. Trees are sorted already. For other containers
// the offsets are sorted in memory, and the records are read one by one.
func (p *Plan) byPath() iter.Seq2[Record, error] {
	if p.sorted {
		return p.Records()
	}
	type place struct {
		path   string
		offset int64
	}
	return func(yield func(Record, error) bool) {
		var places []place
		for r, err := range p.Records() {
			if err != nil {
				yield(r, err)
				return
			}
			places = append(places, place{r.Path, r.offset})
		}
		slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.path, b.path) })
		for _, at := range places {
			if r, err := p.spool.record(at.offset, at.path); !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func line(r *Record) manifest.Line {
	digest := r.first()
	l := manifest.Line{
		Path: r.Path, Kind: manifest.Kind(r.Mode), Size: r.Size, Mode: stmode.Permissions(r.Mode), UID: r.UID, GID: r.GID,
		Target: r.Target, Device: r.Device, Hash: digest.Hash, Digest: digest.Sum, Verity: digest.Verity, Unsigned: r.Reason,
	}
	if !r.leads() {
		l.Same = r.Same
	}
	for name, value := range r.Xattrs {
		if name != ima.XattrIMA && name != ima.XattrEVM {
			if l.Covered == nil {
				l.Covered = map[string][]byte{}
			}
			l.Covered[name] = value
		}
	}
	for _, v := range r.Values {
		if v.Bytes == nil {
			continue
		}
		if l.Xattrs == nil {
			l.Xattrs = map[string][]byte{}
		}
		l.Xattrs[v.Form.Xattr] = v.Bytes
	}
	if v, err := ima.Parse(l.Xattrs[ima.XattrIMA]); err == nil && v.IsSignature() {
		l.KeyID = v.KeyID
	}
	if l.Unsigned == "" && r.HashOnly {
		l.Unsigned = hashOnlyReason
	}
	return l
}
