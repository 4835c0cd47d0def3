package approval

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Manifest is a manifest whose hash somebody approved. It never changes after it is made.
type Manifest struct {
	Sum   [sha256.Size]byte
	sets  map[need]*digests
	lines *lines // nil unless the metadata were approved
}

// need is what has to be known of a manifest. The hash is 0 for metadata.
type need struct {
	over ima.Over
	hash ima.HashID
}

func (k Kind) need() need {
	if k.Form.Over == ima.Metadata {
		return need{over: ima.Metadata}
	}
	return need{k.Form.Over, k.Hash}
}

// Has reports whether an approval of this kind lets a service sign a digest. It always is false
// for metadata; see Lines.
func (m *Manifest) Has(k Kind, digest []byte) bool {
	set := m.sets[k.need()]
	return set != nil && len(digest) == set.size && len(set.find(digest)) > 0
}

// Lines returns the lines with this path whose metadata were approved. Errors are those of
// reading the manifest's file, or say that it changed.
func (m *Manifest) Lines(path string) ([]manifest.Line, error) {
	if m.lines == nil {
		return nil, nil
	}
	return m.lines.find(path)
}

// has reports whether the manifest was read for all needs.
func (m *Manifest) has(needs map[need]bool) bool {
	for n := range needs {
		if _, there := m.sets[n]; !there && (n.over != ima.Metadata || m.lines == nil) {
			return false
		}
	}
	return true
}

// errOtherHash means a manifest that is not the one that was approved.
var errOtherHash = errors.New("its content does not have the hash that its name states")

// MaxManifest is the size in bytes of the largest manifest that a store reads: some four million
// lines.
const MaxManifest = 1 << 30

// load reads the manifest at path, whose hash must be sum. The garbage collector closes the file
// with the last user of the manifest.
func load(path string, sum [sha256.Size]byte, needs map[need]bool, stop func() error) (*Manifest, error) {
	f, err := input.Regular(path)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Sum: sum, sets: map[need]*digests{}}
	for n := range needs {
		if n.over == ima.Metadata {
			m.lines = newLines(f)
		} else {
			m.sets[n] = &digests{size: n.hash.Size(), key: n.hash.Size()}
		}
	}
	info, err := f.Stat()
	if err == nil && info.Size() > MaxManifest {
		err = fmt.Errorf("%w: it has %d bytes, at most %d are read", input.ErrTooLarge, info.Size(), MaxManifest)
	}
	if err == nil {
		err = m.read(f, info.Size(), stop)
	}
	if err != nil || m.lines == nil {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// read reads a manifest of size bytes.
func (m *Manifest) read(from io.Reader, size int64, stop func() error) error {
	hash := sha256.New()
	in := newTap(io.TeeReader(io.LimitReader(from, size), hash))
	r := manifest.NewReader(in)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			in.next()
			m.grow(h.Entries, size)
			err = errors.Join(checkHeader(&h), stop())
		}
		if err != nil {
			return err
		}
		for l, err := range r.Lines() {
			if err == nil {
				err = m.add(&h, &l, in.next())
			}
			if err != nil {
				return err
			}
		}
	}
	if [sha256.Size]byte(hash.Sum(nil)) != m.Sum {
		return errOtherHash
	}
	for _, set := range m.sets {
		set.sort()
	}
	if m.lines != nil {
		m.lines.index.sort()
	}
	return stop()
}

// grow makes room for the digests of a container, whose header a small file can overstate.
func (m *Manifest) grow(entries, size int64) {
	const shortest = 100 // bytes of a line with a digest
	n := int(min(entries, size/shortest))
	for _, set := range m.sets {
		set.data = slices.Grow(set.data, n*set.size)
	}
	if m.lines != nil {
		m.lines.index.data = slices.Grow(m.lines.index.data, n*m.lines.index.size)
	}
}

func (m *Manifest) add(h *manifest.Header, l *manifest.Line, at lineAt) error {
	if err := checkLine(l); err != nil {
		return err
	}
	for n, set := range m.sets {
		if digest := (Kind{ima.Form{Over: n.over}, n.hash}).Digest(l); digest != nil {
			set.data = append(set.data, digest...)
		}
	}
	if m.lines == nil {
		return nil
	}
	covered, err := Kind{Form: ima.PortableSignature()}.Check(h, l)
	if covered {
		m.lines.add(l.Path, at)
	}
	return err
}
