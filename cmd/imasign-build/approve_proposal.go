package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/mldsa"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// proposal is a manifest without signatures, in a temporary file.
type proposal struct {
	*os.File

	sum     [sha256.Size]byte
	covered int64 // files that the approval covers
}

func (p *proposal) close() { _ = p.Close() } // it has no name

// reader reads the manifest from its beginning.
func (p *proposal) reader() *manifest.Reader {
	return manifest.NewReader(io.NewSectionReader(p.File, 0, maxManifest))
}

// strip reads the manifest in a file without its signatures.
func strip(ctx context.Context, file string) (*proposal, error) {
	in, _, err := openManifest(ctx, file)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	out, err := input.Spool("")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", input.ErrSpool, err)
	}
	p := &proposal{File: out}
	if p.sum, err = approval.Strip(in, out); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// errNothingCovered means a manifest without a digest that the service could sign.
var errNothingCovered = errors.New("the manifest has nothing to approve: no file with a digest for such signatures")

// readManifest reads the manifest that is to be approved, and checks each line. It also finds
// the hash, unless a flag states it.
func (o *approveOptions) readManifest(ctx context.Context, file string) (*proposal, error) {
	p, err := strip(ctx, file)
	if err != nil {
		return nil, err
	}
	if err := o.survey(p); err != nil {
		p.close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

func (o *approveOptions) survey(p *proposal) error {
	r := p.reader()
	for {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && p.covered == 0:
			return errNothingCovered
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		for l, err := range r.Lines() {
			if err != nil {
				return err
			}
			if o.kind.Hash == 0 && approval.Signable(&l) {
				o.kind.Hash = l.Hash
			}
			covered, err := o.kind.Check(&h, &l)
			if err != nil {
				return err
			}
			if covered {
				p.covered++
			}
		}
	}
}

// compare compares the manifest with the one that was approved before.
func (o *approveOptions) compare(ctx context.Context, p *proposal, key *ima.PublicKey, r *report.Approval) (err error) {
	previous := o.previous
	if previous == "" {
		if previous, err = approval.Last(o.output, key, o.origin); err != nil {
			return fmt.Errorf("look for earlier approvals: %w", err)
		}
	}
	if previous == "" {
		return nil
	}
	r.Previous = previous
	before, err := strip(ctx, previous)
	if err != nil {
		return err
	}
	defer before.close()
	if name := approval.ManifestName(before.sum); o.previous == "" && filepath.Base(previous) != name {
		return fmt.Errorf("%s: its content does not have the hash that its name states: restore it, or name another one with --previous", previous)
	}
	for d, err := range manifest.Diff(before.reader(), p.reader()) {
		if err != nil { // both were read before, so they have other containers
			r.Detail = err.Error()
			return nil
		}
		r.Differences = append(r.Differences, report.Difference{Path: report.PathOf(d.Path), Change: d.Change, Fields: d.Fields})
	}
	return nil
}

// writeTo writes the manifest to a file whose name states its hash. One that is there stays.
func (p *proposal) writeTo(path string) error {
	if old, err := os.Open(path); err == nil {
		defer old.Close() //nolint:errcheck // opened for reading
		hash := sha256.New()
		if _, err := io.Copy(hash, old); err == nil && [sha256.Size]byte(hash.Sum(nil)) == p.sum {
			return nil
		}
	}
	out, err := atomicfile.Create(path, 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, io.NewSectionReader(p.File, 0, maxManifest)); err != nil {
		return err
	}
	return out.Commit()
}

// maxPublicKey is the size in bytes of the largest file with a public key.
const maxPublicKey = 64 << 10

// errNoServiceKey means a file without the key of a service.
var errNoServiceKey = errors.New("neither a certificate nor a public key")

// publicKeyFile returns the SHA-256 of the SubjectPublicKeyInfo in a file, PEM or DER.
func publicKeyFile(ctx context.Context, path string) (sum [sha256.Size]byte, err error) {
	content, err := input.ReadFile(ctx, path, maxPublicKey)
	if err != nil {
		return sum, err
	}
	if block, _ := pem.Decode(content); block != nil && block.Type == "PUBLIC KEY" {
		content = block.Bytes
	}
	if key, err := mldsa.ParsePKIXPublicKey(content); err != nil || key == nil {
		if _, err := x509.ParsePKIXPublicKey(content); err != nil {
			return sum, fmt.Errorf("read %s: %w", path, errNoServiceKey)
		}
	}
	return sha256.Sum256(content), nil
}
