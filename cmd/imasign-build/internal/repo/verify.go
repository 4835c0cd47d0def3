package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Flaw is a fault in a repository's metadata, or in a package that it lists.
type Flaw string

// The flaws.
const (
	FlawMetadata  Flaw = "metadata"  // a metadata file is missing, unreadable, or not the one that repomd.xml lists
	FlawMissing   Flaw = "missing"   // a listed package does not exist
	FlawDiffers   Flaw = "differs"   // a package is not the one that is listed
	FlawUnlisted  Flaw = "unlisted"  // a package exists that is not listed
	FlawStale     Flaw = "stale"     // metadata has checksums that no package has
	FlawSignature Flaw = "signature" // repomd.xml.asc is missing or not valid
)

// Finding is one flaw.
type Finding struct {
	Path   string // of the package or the metadata; it begins with VerifyOptions.Dir
	Flaw   Flaw
	Detail string
}

// VerifyOptions are the options of Verify.
type VerifyOptions struct {
	Dir string // a repository, or a directory with several below it
	// Signers, unless nil, must include the signer of repomd.xml.
	Signers *Signers
	// Jobs is the number of packages read at the same time. Zero means one for each core.
	Jobs int
	// Observe gets progress, in packages, and warnings.
	Observe signing.Observer
}

// verification is one run of Verify.
type verification struct {
	VerifyOptions
	*site

	take func(Finding) error
	err  error // of take
}

// Verify compares the metadata of repositories with the packages and with itself, and passes
// the flaws to take. It returns the listed packages that exist, so that the caller can verify
// their file signatures, and the number of repositories.
func Verify(ctx context.Context, o VerifyOptions, take func(Finding) error) (units []rpmfiles.Unit, repositories int, err error) {
	r, err := newTask(Options{Dir: o.Dir})
	if err != nil {
		return nil, 0, err
	}
	all, err := takeSurvey(ctx, r.Dir)
	if err != nil {
		return nil, 0, err
	}
	v := &verification{VerifyOptions: o, site: &site{survey: all}, take: take}
	for _, rel := range v.roots() {
		repositories++
		if err := v.open(rel); err != nil {
			return nil, 0, err
		}
	}
	if repositories == 0 {
		return nil, 0, noRepository(o.Dir)
	}
	if err := v.run(ctx); err != nil {
		return nil, 0, err
	}
	r.Dir = o.Dir
	return r.unitsIn(v.site, ""), repositories, v.err
}

func (v *verification) find(path string, flaw Flaw, format string, args ...any) {
	if v.err == nil {
		v.err = v.take(Finding{filepath.Join(v.Dir, path), flaw, fmt.Sprintf(format, args...)})
	}
}

// open reads a repository. Unusable metadata is a finding.
func (v *verification) open(rel string) error {
	p, err := v.readRepository(rel)
	switch {
	case errors.Is(err, ErrMetadata), errors.Is(err, ErrNoRepository), errors.Is(err, input.ErrNotRegular), errors.Is(err, fs.ErrNotExist):
		v.find(filepath.Join(rel, metadataDir), FlawMetadata, "%v", err)
		return nil
	case err != nil:
		return err
	}
	v.repositories = append(v.repositories, p)
	return nil
}

func (v *verification) run(ctx context.Context) error {
	v.findAdditions()
	for _, rel := range v.homeless {
		v.find(rel, FlawUnlisted, "it is in no repository")
	}
	for _, p := range v.repositories {
		if err := v.repository(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) repository(ctx context.Context, p *listing) error {
	for _, d := range p.old.Data {
		if err := v.file(ctx, p, d); err != nil {
			return err
		}
	}
	if err := v.signature(p); err != nil {
		return err
	}
	for _, href := range p.gone {
		v.find(filepath.Join(p.rel, href), FlawMissing, "the metadata lists it, but it does not exist")
	}
	for _, rel := range p.added {
		v.find(filepath.Join(p.rel, rel), FlawUnlisted, "the metadata does not list it")
	}
	p.added = nil
	return v.packages(ctx, p)
}
