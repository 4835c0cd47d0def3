package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Choice says what happens to packages that the metadata does not list, and to listed
// packages that do not exist.
type Choice string

// The choices.
const (
	// Publish signs additions and lists them. Removals are no longer listed.
	Publish Choice = "publish"
	// Refuse returns an error that names the packages.
	Refuse Choice = "refuse"
	// Leave neither signs nor lists additions.
	Leave Choice = "leave"
)

// Options of Sign and Refresh.
type Options struct {
	// Dir is a repository, or a directory with several below it.
	Dir string
	// Output is the path of the signed repository, on the same file system. With Swap it is
	// then exchanged with Dir, so Output becomes the old repository.
	Output string
	Swap   bool
	// InPlace changes the packages in Dir. Until the metadata is made, packages differ from
	// it, and clients fail.
	InPlace bool
	// Packages changes the packages: signs or strips them.
	Packages Loop
	// DryRun says that Packages writes nothing. Then nothing else is written either.
	DryRun bool
	// OpenPGP, unless nil, signs repomd.xml.
	OpenPGP *rpmsign.OpenPGPKey
	// Additions and Removals mean Publish if they are "". Removals cannot be Leave.
	Additions, Removals Choice
	// Jobs is the number of packages processed at the same time. Zero means one for each
	// core.
	Jobs int
	// Createrepo is the program that makes metadata. "" means createrepo_c.
	Createrepo string
	// Environment is the environment of that program, "NAME=value". nil means that of the
	// caller. It should have no secrets.
	Environment []string
	// Observe gets warnings.
	Observe signing.Observer
}

// Loop changes the packages at the units. Outputs of an interrupted run may exist already
// (rpmsign.Resume).
//
// It passes the outcome of each unit to note, on one goroutine and in the order of the units.
// Unless it ends early, it then calls finish and returns its error.
type Loop func(ctx context.Context, units []rpmfiles.Unit, note func(Outcome) (news bool), finish func(context.Context) error) error

// Outcome is the result for the package at a unit's path. It is news, unless it was noted
// before and the package is unchanged: if somebody changes the repository during a run, all
// units are processed again.
type Outcome struct {
	Path    string
	Changed bool // in a dry run: would be changed
	Err     error
}

// Summary describes the changes of the lists of packages. Paths begin with Options.Dir.
type Summary struct {
	Repositories int
	Added        []string // newly listed
	Removed      []string // no longer listed, because they do not exist
	Left         []string // neither signed nor listed
	// Agree says that the metadata describes the packages as they are now. It is false after
	// an error, unless the error is that some packages could not be signed in place.
	Agree bool
}

// attempts is how often a run starts again after somebody else changed the repository.
const attempts = 3

// task is one run over a site.
type task struct {
	Options

	given   string          // Dir as the user gave it; Dir itself has no symbolic links
	afresh  bool            // packages may have changed before this run, so their old checksums are unknown
	told    map[string]bool // packages and warnings
	summary Summary
	stale   checksums                 // old checksums of packages and metadata
	before  map[string]map[int]string // in place: old checksums of packages, by item and length
}

func newTask(o Options) (*task, error) {
	r := &task{Options: o, given: o.Dir, told: map[string]bool{}}
	var err error
	// A symbolic link to the repository stays, and its target is exchanged.
	if r.Dir, err = filepath.EvalSymlinks(o.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", o.Dir, ErrNoRepository, err)
	} else if err != nil {
		return nil, err
	}
	if r.Dir, err = filepath.Abs(r.Dir); err != nil {
		return nil, err
	}
	return r, nil
}

// warn sends each warning once.
func (r *task) warn(message string) {
	if !r.told[message] {
		r.told[message] = true
		r.Observe.Warn("", message)
	}
}

// Sign signs the packages of a repository, or of all repositories below a directory, with
// o.Packages in the order of their paths, and makes the metadata of the result. Changes that
// somebody else makes in the meantime are included. Errors wrap those of this package. After
// an error the repository is as it was, unless InPlace was set.
func Sign(ctx context.Context, o Options) (Summary, error) {
	r, err := newTask(o)
	if err != nil {
		return Summary{}, err
	}
	err = r.sign(ctx)
	return r.summary, err
}

func (r *task) sign(ctx context.Context) error {
	if r.DryRun {
		return r.dryRun(ctx)
	}
	s, unlock, err := r.begin(ctx, r.Swap || r.InPlace)
	if err != nil {
		return err
	}
	defer unlock()
	if !r.InPlace {
		return r.besides(ctx, s)
	}
	r.warn(InPlace)
	return r.again(ctx, s, func(s *site) error { return r.inPlace(ctx, s) })
}

// begin reads the site, checks that createrepo_c exists, and keeps other runs away.
func (r *task) begin(ctx context.Context, change bool) (s *site, unlock func(), err error) {
	if s, err = openSite(ctx, r.Dir); err != nil {
		return nil, nil, err
	}
	for _, p := range s.repositories {
		if err := r.warnAboutSignature(p.rel); err != nil {
			return nil, nil, err
		}
	}
	if err := r.findCreaterepo(); err != nil {
		return nil, nil, err
	}
	unlock, err = r.lockSite(s, change)
	return s, unlock, err
}

// again calls work on the site, and calls it again if somebody else changed the site in the
// meantime. Signed packages are kept, so this takes little time.
func (r *task) again(ctx context.Context, s *site, work func(*site) error) error {
	for n := 1; ; n++ {
		err := work(s)
		var moved *movedError
		if !errors.As(err, &moved) {
			return err
		}
		if n == attempts {
			return fmt.Errorf("%s: %w: %s: run the command again when nobody else changes it; it continues from there", r.given, ErrChanged, some(moved.what))
		}
		r.warn("changed by somebody else during this run, and included: " + some(moved.what))
		if s, err = openSite(ctx, r.Dir); err != nil {
			return err
		}
	}
}

// movedError means that the site changed since it was surveyed.
type movedError struct{ what []string }

func (e *movedError) Error() string { return "changed in the meantime: " + some(e.what) }

// unchanged checks that the site did not change.
func (r *task) unchanged(ctx context.Context, s *site) error {
	now, err := takeSurvey(ctx, r.Dir)
	if err != nil {
		return err
	}
	what := s.differences(now)
	for _, p := range s.repositories {
		text, err := readBounded(repomdPath(filepath.Join(r.Dir, p.rel)))
		if err == nil && !bytes.Equal(text, p.text) {
			what = append(what, filepath.Join(p.rel, metadataDir, "repomd.xml")+" was regenerated")
		}
	}
	if there, err := filepath.EvalSymlinks(r.given); err == nil {
		if there, err = filepath.Abs(there); err == nil && there != r.Dir {
			return fmt.Errorf("%s: %w: the link now leads to %s, and led to %s before", r.given, ErrChanged, there, r.Dir)
		}
	}
	if len(what) > 0 {
		return &movedError{what}
	}
	return nil
}

func (r *task) dryRun(ctx context.Context) error {
	s, err := openSite(ctx, r.Dir)
	if err != nil {
		return err
	}
	for _, p := range s.repositories {
		if err := r.warnAboutSignature(p.rel); err != nil {
			return err
		}
	}
	if err := r.decide(s); err != nil {
		return err
	}
	return r.packages(ctx, s, "", func(_ context.Context, changed bool, failed error) error {
		for _, p := range s.repositories {
			if changed && failed == nil && slices.ContainsFunc(p.old.Data, func(d metadata) bool { return isDelta(d.Type) }) {
				r.warn(aboutDeltas)
			}
		}
		return failed
	})
}

// packages changes all packages, below to, or in place if to is "". Then it tells finish
// whether any package changed. failed wraps ErrPackages if packages failed.
func (r *task) packages(ctx context.Context, s *site, to string, finish func(ctx context.Context, changed bool, failed error) error) error {
	units, changed, failures := r.unitsIn(s, to), false, 0
	return r.Packages(ctx, units, func(o Outcome) (news bool) {
		if o.Err != nil {
			failures++
		}
		changed = changed || o.Changed
		return r.note(s, o)
	}, func(ctx context.Context) error {
		if failures == 0 {
			return finish(ctx, changed, nil)
		}
		return finish(ctx, changed, fmt.Errorf("%d of %d %w", failures, len(units), ErrPackages))
	})
}

// note records an outcome and reports whether it is news.
func (r *task) note(s *site, o Outcome) (news bool) {
	rel, _ := below(r.Dir, o.Path)
	switch {
	case r.DryRun:
	case !r.InPlace:
		s.linked(rel)
	case o.Changed && o.Err == nil:
		s.written(rel)
	}
	news = !r.told[o.Path] || o.Changed || o.Err != nil
	r.told[o.Path] = true
	return news
}

func isNotThere(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}
