package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers decide by.
var (
	// ErrNoRepository means a directory without (readable) metadata.
	ErrNoRepository = errors.New("not an rpm repository")
	// ErrMetadata means metadata that cannot be read, or not be kept.
	ErrMetadata = errors.New("unusable metadata")
	// ErrExists means that the place for the signed repository is taken.
	ErrExists = errors.New("exists already")
	// ErrAround is an ErrExists: the place is the repository, or has it below it.
	ErrAround = fmt.Errorf("%w, and the repository is there", ErrExists)
	// ErrBusy means that another run works on the same repository.
	ErrBusy = errors.New("another run is at work here")
	// ErrPackages means that packages failed; each result has its error. The
	// repository is as it was, and the next run goes on from what is done.
	ErrPackages = errors.New("packages could not be signed")
	// ErrUnlisted means packages that the metadata do not list, where they are refused.
	ErrUnlisted = errors.New("the metadata do not list packages that are there")
	// ErrMissing means listed packages that are not there, where that is refused.
	ErrMissing = errors.New("the metadata list packages that are not there")
	// ErrOutside means a package to be changed in place that lies outside of the
	// repository, behind a symbolic link.
	ErrOutside = errors.New("it leads out of the repository, where nothing is changed in place")
	// ErrChanged means that somebody else changed the repository during the run, again
	// and again, or in its last moment.
	ErrChanged = errors.New("the repository was changed by somebody else")
)

// What a run warns of.
const (
	// InPlace is about the whole run.
	InPlace = "the repository is changed in place: until the metadata are made anew, clients find packages that differ from them and fail"
	// SignatureLeftOut follows the name of a repomd.xml.asc.
	SignatureLeftOut = "is of the old metadata and left out; clients with repo_gpgcheck=1 refuse the repository without it"
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
	// Signing says how packages are signed, or stripped.
	Signing *rpmsign.Signing
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

	given   string // Dir as it was named; Dir itself has no symbolic links
	afresh  bool   // packages were changed before this run, and what they were is not known
	take    func(rpmsign.Result) error
	told    map[string]bool // results and warnings that were handed out
	summary Summary
	stale   checksums                 // of packages and metadata, as they were
	before  map[string]map[int]string // checksums of packages as they were, in place, by item and length
}

func newTask(o Options, take func(rpmsign.Result) error) (*task, error) {
	r := &task{Options: o, given: o.Dir, take: take, told: map[string]bool{}}
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

func (r *task) jobs() int {
	if r.Jobs > 0 {
		return r.Jobs
	}
	return runtime.GOMAXPROCS(0)
}

// warn tells something once, however often it is found.
func (r *task) warn(message string) {
	if !r.told[message] {
		r.told[message] = true
		r.Observe.Warn("", message)
	}
}

// Sign signs the packages of a repository, or of all below a directory, and hands
// every package's result to take, in the order of their paths; what somebody else
// adds meanwhile comes last. With a dry run in o.Signing it only plans. Errors wrap
// those of this package; after any error the repository is as it was, unless InPlace
// was asked for.
func Sign(ctx context.Context, o Options, take func(rpmsign.Result) error) (Summary, error) {
	r, err := newTask(o, take)
	if err != nil {
		return Summary{}, err
	}
	err = r.sign(ctx)
	return r.summary, err
}

func (r *task) sign(ctx context.Context) error {
	if r.Signing.DryRun {
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
	changed, take := false, r.take
	r.take = func(result rpmsign.Result) error {
		changed = changed || result.Changed
		return take(result)
	}
	if err := r.packages(ctx, s, r.unitsIn(s, ""), r.Signing.Run); err != nil || !changed {
		return err
	}
	for _, p := range s.repositories {
		if slices.ContainsFunc(p.old.Data, func(d metadata) bool { return isDelta(d.Type) }) {
			r.warn(aboutDeltas)
		}
	}
	return nil
}

// packages works on all units; their failures become ErrPackages.
func (r *task) packages(ctx context.Context, s *site, units []rpmsign.Unit, work func(context.Context, rpmsign.Unit) rpmsign.Result) error {
	failed := 0
	err := rpmsign.Each(ctx, r.jobs(), units, func(ctx context.Context, u rpmsign.Unit) rpmsign.Result {
		result := work(ctx, u)
		if errors.Is(result.Err, rpmsign.ErrOutside) {
			result.Err = fmt.Errorf("write %s: %w", u.Path, ErrOutside)
		}
		rel, _ := below(r.Dir, u.Path)
		switch {
		case r.Signing.DryRun:
		case u.Output != "":
			s.linked(rel)
		case result.Changed && result.Err == nil:
			s.written(rel)
		}
		return result
	}, func(result rpmsign.Result) error {
		if result.Err != nil {
			failed++
		}
		if r.told[result.Path] && !result.Changed && result.Err == nil {
			return nil
		}
		r.told[result.Path] = true
		return r.take(result)
	})
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d %w", failed, len(units), ErrPackages)
	}
	return err
}

func isNotThere(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}
