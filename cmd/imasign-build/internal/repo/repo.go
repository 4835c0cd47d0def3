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

// Choice is what is done about packages that the metadata do not list, or list
// without there being any.
type Choice string

// The choices.
const (
	// Publish signs additions and lists them; removals are not listed any more.
	Publish Choice = "publish"
	// Refuse is an error that names the packages.
	Refuse Choice = "refuse"
	// Leave leaves additions as they are, unsigned and unlisted.
	Leave Choice = "leave"
)

// Options of Sign and Refresh.
type Options struct {
	// Dir is a repository, or a directory with several below it.
	Dir string
	// Output is where the signed repository is written, on the same file system;
	// with Swap it then changes places with Dir, so that Output is the old one.
	Output string
	Swap   bool
	// InPlace works below Dir itself: until the metadata are made, clients find
	// packages that differ from them, and fail.
	InPlace bool
	// Packages changes the packages: signs or strips them.
	Packages Loop
	// DryRun says that Packages writes nothing, so that nothing else is written either.
	DryRun bool
	// OpenPGP, unless nil, signs repomd.xml.
	OpenPGP *rpmsign.OpenPGPKey
	// Additions and Removals stand for Publish where they are "". There is no Leave
	// for removals.
	Additions, Removals Choice
	// Jobs is how many packages are worked on at a time; zero stands for one a core.
	Jobs int
	// Createrepo is the program that makes metadata; "" stands for createrepo_c.
	Createrepo string
	// Environment is that program's, "NAME=value"; nil stands for the caller's own.
	// It should be free of secrets.
	Environment []string
	// Observe gets warnings.
	Observe signing.Observer
}

// Loop changes the packages at the units. Outputs may be there already, of an interrupted
// run (rpmsign.Resume).
//
// It tells note, on one goroutine and in the order of the units, what became of each. In
// the end it calls finish, whose error is its own, unless it ended early.
type Loop func(ctx context.Context, units []rpmfiles.Unit, note func(Outcome) (news bool), finish func(context.Context) error) error

// Outcome is what became of the package at a unit's path. It is news, unless the package
// was told before and is unchanged: where somebody changes the repository during a run,
// all its units have another turn.
type Outcome struct {
	Path    string
	Changed bool // or to be changed, in a dry run
	Err     error
}

// Summary is what became of a repository's list of packages. Paths begin with
// Options.Dir.
type Summary struct {
	Repositories int
	Added        []string // listed from now on
	Removed      []string // not listed any more, as they are not there
	Left         []string // neither signed nor listed
	// Agree says that the metadata are of the packages as they are by now; it is false
	// after an error, unless some packages could not be signed in place.
	Agree bool
}

// attempts is how often a run takes in what somebody else changed meanwhile.
const attempts = 3

// task is one run over a site.
type task struct {
	Options

	given   string          // Dir as it was named; Dir itself has no symbolic links
	afresh  bool            // packages were changed before this run, and what they were is not known
	told    map[string]bool // packages and warnings
	summary Summary
	stale   checksums                 // of packages and metadata, as they were
	before  map[string]map[int]string // checksums of packages as they were, in place, by item and length
}

func newTask(o Options) (*task, error) {
	r := &task{Options: o, given: o.Dir, told: map[string]bool{}}
	var err error
	// A symbolic link to the repository stays; what it leads to is exchanged.
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

// warn tells something once, however often it is found.
func (r *task) warn(message string) {
	if !r.told[message] {
		r.told[message] = true
		r.Observe.Warn("", message)
	}
}

// Sign has o.Packages sign the packages of a repository, or of all below a directory, in
// the order of their paths, and makes metadata of the result. What somebody else changes
// meanwhile is taken in. Errors wrap those of this package; after any error the repository
// is as it was, unless InPlace was asked for.
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

// begin reads the site, checks what has to be there, and keeps other runs away.
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

// again works on the site, and once more on what it is by then when somebody else
// changed it meanwhile: what was done stays done, so that takes a moment.
func (r *task) again(ctx context.Context, s *site, work func(*site) error) error {
	for n := 1; ; n++ {
		err := work(s)
		var moved *movedError
		if !errors.As(err, &moved) {
			return err
		}
		if n == attempts {
			return fmt.Errorf("%s: %w: %s; run this again when nobody else does, it goes on from what is done", r.given, ErrChanged, some(moved.what))
		}
		r.warn("changed by somebody else during this run, and taken in: " + some(moved.what))
		if s, err = openSite(ctx, r.Dir); err != nil {
			return err
		}
	}
}

// movedError means that the site is not as it was surveyed.
type movedError struct{ what []string }

func (e *movedError) Error() string { return "changed meanwhile: " + some(e.what) }

// unchanged compares the site with what it is now.
func (r *task) unchanged(ctx context.Context, s *site) error {
	now, err := takeSurvey(ctx, r.Dir)
	if err != nil {
		return err
	}
	what := s.differences(now)
	for _, p := range s.repositories {
		text, err := readBounded(repomdPath(filepath.Join(r.Dir, p.rel)))
		if err == nil && !bytes.Equal(text, p.text) {
			what = append(what, filepath.Join(p.rel, metadataDir, "repomd.xml")+" was made anew")
		}
	}
	if there, err := filepath.EvalSymlinks(r.given); err == nil {
		if there, err = filepath.Abs(there); err == nil && there != r.Dir {
			return fmt.Errorf("%s: %w: it leads to %s now, and led to %s", r.given, ErrChanged, there, r.Dir)
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

// packages has all packages changed, below to or in place where that is "". In the end it
// tells finish whether any was, and of those that failed by ErrPackages.
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

// note takes note of what became of a package, and reports whether that is news.
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
