package operate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Manifest says where the manifest of an operation is written.
type Manifest struct {
	// Description is that of every unit, but for Container and Name, which are the
	// unit's own.
	Description signing.Description
	// Create makes the file. It is called after the first plan is made, because the file
	// may be in the tree that is being planned.
	Create func() (File, error)
}

// File appears with Commit, and never after Abort. Abort after Commit does nothing.
type File interface {
	io.Writer
	Commit() error
	Abort()
}

// Companion is a file beside the manifest. Commit makes it appear, with what it has so far.
type Companion interface{ Commit() error }

// listing writes a manifest, and makes its companion appear. Without them it does nothing.
type listing struct {
	*Manifest

	beside Companion

	file   File
	listed map[string][sha256.Size]byte // digests of its parts, by the names of the containers
}

// add writes a unit's part of the manifest, once for several copies of one container.
func (l *listing) add(o *Outcome) error {
	if l.Manifest == nil || o.Skip != "" {
		return nil
	}
	if err := l.create(); err != nil {
		return err
	}
	d := l.Description
	d.Container, d.Name = o.Unit.Kind, o.Name
	first, met := l.listed[o.Name]
	digest := sha256.New()
	to := io.Writer(digest)
	if !met {
		to = io.MultiWriter(l.file, digest)
	}
	if err := o.Plan.WriteManifest(to, d); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	sum := [sha256.Size]byte(digest.Sum(nil))
	if met && first != sum {
		return fmt.Errorf("%s: another container is called %s as well, but differs: a manifest cannot list both", o.Unit.Path, o.Name)
	}
	l.listed[o.Name] = sum
	return nil
}

// withoutTargets keeps the engine from reading the targets of symbolic links, which only a
// manifest needs.
type withoutTargets struct{ signing.Source }

// Entries lists the entries of the source.
func (s withoutTargets) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for e, err := range s.Source.Entries(ctx) {
			e.Readlink = nil
			if !yield(e, err) {
				return
			}
		}
	}
}

func (l *listing) create() error {
	if l.file != nil {
		return nil
	}
	file, err := l.Create()
	if err == nil {
		l.file, l.listed = file, map[string][sha256.Size]byte{}
	}
	return err
}

// commit makes the companion and the manifest appear.
func (l *listing) commit() error {
	if l.beside != nil {
		if err := l.beside.Commit(); err != nil {
			return errors.Join(err, errors.New("the receipts are missing, everything else is done"))
		}
	}
	if l.Manifest == nil {
		return nil
	}
	err := l.create()
	if err == nil {
		err = l.file.Commit()
	}
	if err != nil {
		return errors.Join(err, errors.New("the manifest is missing, everything else is done: run it again"))
	}
	return nil
}

func (l *listing) discard() {
	if l.file != nil {
		l.file.Abort()
	}
}
