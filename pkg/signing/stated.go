package signing

import (
	"context"
	"iter"
	"maps"

	"github.com/imasign/imasign-build/pkg/manifest"
)

// Stated returns the entries of one container of a manifest, each with the digest that
// its line states. With it a machine that has the key, but not the files, can sign.
// Entries that the manifest leaves unsigned stay unsigned. The lines are read each time
// the Source is listed, so a sequence that can be read only once can be listed only once.
func Stated(lines iter.Seq2[manifest.Line, error]) Source { return stated{lines} }

type stated struct {
	lines iter.Seq2[manifest.Line, error]
}

func (s stated) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for l, err := range s.lines {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(statedEntry(&l), nil) {
				return
			}
		}
	}
}

// hashOnlyReason is a manifest's reason for an entry that has a digest without a
// signature (digest-ng).
const hashOnlyReason = "hash only"

func statedEntry(l *manifest.Line) Entry {
	e := Entry{
		Path: l.Path, Mode: l.FileMode(), UID: l.UID, GID: l.GID, Size: l.Size, Same: l.Same,
		Target: l.Target, Device: l.Device, HashOnly: l.Unsigned == hashOnlyReason,
	}
	if len(l.Digest) > 0 {
		e.Digests = []Digest{{l.Hash, l.Digest, l.Verity}}
		e.Verity = l.Verity
	}
	if len(l.Covered)+len(l.Xattrs) > 0 {
		e.Xattrs = make(map[string][]byte, len(l.Covered)+len(l.Xattrs))
		maps.Copy(e.Xattrs, l.Covered)
		maps.Copy(e.Xattrs, l.Xattrs)
	}
	switch {
	case l.Unsigned != "" && (!e.HashOnly || l.Verity != nil):
		e.Reason = l.Unsigned
	case len(l.Digest) == 0:
		e.Reason = "the manifest states no digest"
	}
	return e
}
