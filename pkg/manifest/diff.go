package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"

	"github.com/imasign/imasign-build/internal/quote"
)

// The values of Difference.Change.
const (
	removed = "removed"
	added   = "added"
	changed = "changed"
)

// Difference is an entry or a header that differs between two manifests.
type Difference struct {
	Path   string   // of the entry, raw bytes; "" for a header
	Change string   // "removed", "added" or "changed", from the first manifest to the second
	Fields []string // the changed keys; those with short values as "key old -> new"
}

// Diff yields the differences between two manifests. It reads both once, in parallel, and
// holds one entry of each in memory. If a path repeats, the n-th entries of the path are
// compared.
//
// It yields an error if the manifests do not have the same containers in the same order,
// or if a [Reader] fails. After an error it yields nothing more.
func Diff(old, now *Reader) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		for {
			a, errA := old.Next()
			b, errB := now.Next()
			endA, endB := errors.Is(errA, io.EOF), errors.Is(errB, io.EOF)
			switch {
			case errA != nil && !endA || errB != nil && !endB:
				yield(Difference{}, sides(errA, errB))
				return
			case endA && endB:
				return
			case endA || endB:
				yield(Difference{}, errors.New("one manifest has more containers than the other"))
				return
			case a.Container != b.Container || a.Name != b.Name:
				yield(Difference{}, fmt.Errorf("the first manifest has the container %s %q, the second has %s %q", a.Container, a.Name, b.Container, b.Name))
				return
			}
			if fields := headerFields(a, b); len(fields) > 0 && !yield(Difference{Change: changed, Fields: fields}, nil) {
				return
			}
			if !diffLines(old, now, yield) {
				return
			}
		}
	}
}

// sides joins the errors of both manifests, and names the manifest of each.
func sides(old, now error) error {
	var errs []error
	if old != nil && !errors.Is(old, io.EOF) {
		errs = append(errs, fmt.Errorf("the first manifest: %w", old))
	}
	if now != nil && !errors.Is(now, io.EOF) {
		errs = append(errs, fmt.Errorf("the second manifest: %w", now))
	}
	return errors.Join(errs...)
}

func diffLines(old, now *Reader, yield func(Difference, error) bool) bool {
	nextOld, stopOld := iter.Pull2(old.Lines())
	defer stopOld()
	nextNow, stopNow := iter.Pull2(now.Lines())
	defer stopNow()
	a, errA, moreA := nextOld()
	b, errB, moreB := nextNow()
	for moreA || moreB {
		if errA != nil || errB != nil {
			yield(Difference{}, sides(errA, errB))
			return false
		}
		d := Difference{Path: a.Path, Change: changed}
		takeA, takeB := moreA && (!moreB || a.Path <= b.Path), moreB && (!moreA || b.Path <= a.Path)
		switch {
		case !takeB:
			d.Change = removed
		case !takeA:
			d.Path, d.Change = b.Path, added
		default:
			d.Fields = lineFields(a, b)
		}
		if (d.Change != changed || len(d.Fields) > 0) && !yield(d, nil) {
			return false
		}
		if takeA {
			a, errA, moreA = nextOld()
		}
		if takeB {
			b, errB, moreB = nextNow()
		}
	}
	return true
}

func headerFields(a, b Header) (fields []string) {
	add := func(differs bool, name string, from, to any) {
		if differs {
			fields = append(fields, fmt.Sprintf("%s %v -> %v", name, from, to))
		}
	}
	add(a.Tool != b.Tool, "tool", a.Tool, b.Tool)
	add(a.Hash != b.Hash, "hash", a.Hash, b.Hash)
	add(a.KeyID != b.KeyID, "key_id", a.KeyID, b.KeyID)
	add(a.KeyFor != b.KeyFor, "key_for", fmt.Sprintf("%q", purposes()[a.KeyFor]), fmt.Sprintf("%q", purposes()[b.KeyFor]))
	add(!bytes.Equal(a.Certificate, b.Certificate), "certificate_sha256", fmt.Sprintf("%x", a.Certificate), fmt.Sprintf("%x", b.Certificate))
	add(!a.Date.Equal(b.Date), "date", a.Date, b.Date)
	return fields
}

func lineFields(a, b Line) (fields []string) {
	add := func(differs bool, name string, from, to any) {
		if differs {
			fields = append(fields, fmt.Sprintf("%s %v -> %v", name, from, to))
		}
	}
	add(a.Kind != b.Kind, "kind", a.Kind, b.Kind)
	add(a.Size != b.Size, "size", a.Size, b.Size)
	add(a.Mode != b.Mode, "mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	add(a.UID != b.UID, "uid", a.UID, b.UID)
	add(a.GID != b.GID, "gid", a.GID, b.GID)
	// Manifests that earlier versions made do not state these.
	add(a.Target != b.Target && a.Target != "" && b.Target != "", "target", quote.Name(a.Target), quote.Name(b.Target))
	add(a.Device != b.Device && a.Device != "" && b.Device != "", "device", a.Device, b.Device)
	add(a.KeyID != b.KeyID, "key_id", a.KeyID, b.KeyID)
	add(a.version() != b.version() && a.version() != 0 && b.version() != 0, "signature_version", a.version(), b.version())
	add(a.Unsigned != b.Unsigned, "unsigned", fmt.Sprintf("%q", a.Unsigned), fmt.Sprintf("%q", b.Unsigned))
	add(a.Same != b.Same, "same", a.Same, b.Same)
	add(a.Verity != b.Verity && (a.Verity == nil || b.Verity == nil || !a.Verity.Equal(*b.Verity)), "verity", verityOf(a), verityOf(b))
	if a.Hash != b.Hash || !bytes.Equal(a.Digest, b.Digest) {
		fields = append(fields, "digest")
	}
	if !maps.EqualFunc(a.Xattrs, b.Xattrs, bytes.Equal) {
		fields = append(fields, "xattrs")
	}
	if !maps.EqualFunc(a.Covered, b.Covered, bytes.Equal) {
		fields = append(fields, "covered")
	}
	return fields
}

// verityOf returns what the digest of a line is of, as differences show it.
func verityOf(l Line) string {
	if l.Verity == nil {
		return "none"
	}
	return l.Verity.String()
}
