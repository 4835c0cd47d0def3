package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/internal/xattrspace"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// packageChange is a command that changes packages: what it does to each one, and the
// results.
type packageChange struct {
	*app
	operate.Operation

	progress *progress
	jobs     int
	options  rpmsign.Options     // for every package, without Output and Outside
	level    rpmsign.Level       // what is checked first
	strips   bool                // signatures are removed
	longest  int                 // size in bytes of the longest signature that a file may get; 0 if not known
	resume   bool                // outputs may be left over from an interrupted run
	apart    bool                // outputs are not part of an existing repository
	empty    error               // the error if no package has a file to change; nil for none
	choice   *packageSelectFlags // nil for all files
	from     ima.KeyID           // key whose signatures are replaced, 0 for any

	result  report.PackageChange
	started time.Time
	changed []string // files that were written
	agree   bool     // the metadata was regenerated
	errs    []error
}

// newPackageChange checks the flags. The caller must set the operation's Plan. choice is nil
// for all files.
func newPackageChange(a *app, command string, f *packageFlags, choice *packageSelectFlags) (*packageChange, error) {
	c := &packageChange{app: a, jobs: f.jobs, choice: choice, started: time.Now()}
	c.result = report.PackageChange{Head: report.Head{Command: command}, Verbose: a.verbose, DryRun: f.dryRun}
	c.DryRun = f.dryRun
	var err error
	if c.level, err = f.level(); err != nil {
		return nil, err
	}
	if c.options, err = f.options(); err != nil {
		return nil, err
	}
	c.progress = a.newProgress()
	c.options.Observe = c.progress.observer
	if choice != nil {
		if err := choice.compile(c.progress.observer); err != nil {
			c.progress.close()
			return nil, err
		}
		c.Select = choice.wrap
	}
	return c, nil
}

// signsWith sets the key that signs, nil for none.
func (c *packageChange) signsWith(key *ima.PublicKey) {
	if key == nil {
		return
	}
	c.result.KeyID, c.longest = key.ID().String(), key.MaxValueSize()
	c.warnOfRoom(c.longest)
}

// warnOfRoom warns of signatures that a small ext4 on the devices has no room for. There
// rpm's plugin fails to set them, and rpm to install the package.
func (c *packageChange) warnOfRoom(size int) {
	small, value := xattrspace.Ext{Block: 1024, Inode: 256}, xattrspace.Value{Name: "ima", Size: size} // mkfs.ext4's default below 512 MiB
	if _, err := small.Place(small.New(), value); err != nil {
		c.note("warning: signatures of %d bytes: rpm does not install a package where the file system has no room for them; ext4 has room if it was made with mkfs.ext4 %s", size, strings.Join(small.Remedies(value), " or "))
	}
}

// paths changes the packages at paths.
func (c *packageChange) paths(ctx context.Context, paths []string, f *packageFlags) error {
	units, err := f.units(paths)
	if err != nil {
		return err
	}
	if !c.DryRun {
		if err := rpmfiles.MakeDirs(units); err != nil {
			return err
		}
	}
	return c.do(ctx, f.manifest, func(ctx context.Context) error { return c.each(ctx, units, c.take) })
}

// do calls run, which changes packages, and reports the results. Changed packages stay
// changed if others fail.
func (c *packageChange) do(ctx context.Context, manifest string, run func(context.Context) error) error {
	discard, err := c.startManifest(manifest)
	if err != nil {
		return err
	}
	defer discard()
	if c.choice != nil {
		defer c.choice.warn(c.app, "any package")
	}
	err = run(ctx)
	c.progress.close()
	c.findStale()
	c.result.Seconds = time.Since(c.started).Seconds()
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %s done, the others are as they were", cause, report.PackageCount(c.result.Total-c.result.Failed))
	}
	if len(c.errs) > 0 {
		return c.print(&c.result, errors.Join(err, c.failures()))
	}
	if err == nil && c.result.Done() == 0 {
		err = c.empty
	}
	if err != nil {
		return err
	}
	return c.print(&c.result, nil)
}

// startManifest creates the file of the manifest, so that an error occurs before any package
// is changed.
func (c *packageChange) startManifest(path string) (discard func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	date, err := c.date()
	if err != nil {
		return nil, err
	}
	first, err := c.create(path)
	if err != nil {
		return nil, err
	}
	next := first
	c.Manifest = &operate.Manifest{Description: signing.Description{Tool: tool(), Date: date}, Create: func() (operate.File, error) {
		if f := next; f != nil {
			next = nil
			return f, nil
		}
		return c.create(path) // for the next round of a repository
	}}
	return first.Abort, nil
}

// each changes the packages at units and passes the outcomes to take, in the same order.
func (c *packageChange) each(ctx context.Context, units []rpmfiles.Unit, take func(*operate.Outcome) error) error {
	verb := "signed"
	switch {
	case c.DryRun:
		verb = "read"
	case c.strips:
		verb = "stripped"
	}
	done := c.progress.packages(verb, units)
	_, err := operate.Each(ctx, c.jobs, operate.Of(c.units(units)), false, &c.Operation, func(o *operate.Outcome) error {
		if done(o.Unit.Path); o.Skip != "" {
			c.progress.begun() // it needs no signatures
		}
		return take(o)
	})
	return err
}

func (c *packageChange) units(list []rpmfiles.Unit) iter.Seq2[operate.Unit, error] {
	return func(yield func(operate.Unit, error) bool) {
		for _, u := range list {
			if !yield(c.unit(u), nil) {
				return
			}
		}
	}
}

func (c *packageChange) unit(u rpmfiles.Unit) operate.Unit {
	o := c.options
	o.Output, o.Outside = u.Output, u.Outside
	open := func(ctx context.Context) (operate.Opened, error) {
		p, err := rpmsign.Open(u.Path, o)
		opened, err := c.opened(ctx, p, err)
		if err != nil && c.choice != nil {
			c.choice.rules.Missed()
		}
		return opened, err
	}
	unit := operate.Unit{Path: u.Path, Kind: manifest.Package, Open: open}
	if c.resume && u.Output != "" {
		unit.Instead = open
		unit.Open = func(ctx context.Context) (operate.Opened, error) {
			p, err := rpmsign.Resume(ctx, u.Path, o, c.kept)
			return c.opened(ctx, p, err)
		}
	}
	return unit
}

// opened checks an opened package.
func (c *packageChange) opened(ctx context.Context, p *rpmsign.Package, err error) (operate.Opened, error) {
	if err != nil {
		return operate.Opened{}, err
	}
	o := operate.Opened{Container: p, Name: p.Name()}
	err = p.Check(ctx, c.level)
	switch {
	case err != nil:
	case p.Source():
		o.Skip = rpmsign.ErrSource.Error()
	case c.longest > 0: // before anything is signed
		err = p.Signable(ctx, c.longest, c.kept)
	}
	if err != nil {
		err = errors.Join(err, p.Close())
	}
	return o, err
}

// take adds the outcome of a package to the results.
func (c *packageChange) take(o *operate.Outcome) error {
	r := report.PackageOutcome{Path: o.Unit.Path, Name: o.Name, Skip: o.Skip, Changed: o.Change.Any, Grows: o.Change.Grows, Err: c.advise(o.Err)}
	if o.Plan != nil {
		r.Counts = o.Plan.Counts()
	}
	p, opened := o.Container.(*rpmsign.Package)
	if opened {
		r.Defects = p.Defects()
	}
	c.result.Take(r)
	if o.Err != nil {
		c.errs = append(c.errs, o.Err)
		return nil //nolint:nilerr // all errors are reported at the end
	}
	if o.Change.Any && opened && !c.apart {
		c.changed = append(c.changed, p.Target())
	}
	for _, d := range r.Defects {
		c.warnOfEach("its file signatures were defective ("+string(d.Flaw)+")", "%s: its file signatures were defective (%s): %s", quote.Name(r.Path), d.Flaw, d.Detail)
	}
	return nil
}

// findStale finds repositories whose metadata no longer agrees with packages that were
// changed in place.
func (c *packageChange) findStale() {
	if c.DryRun || c.agree {
		return
	}
	met := map[string]bool{}
	for _, file := range c.changed {
		there, _ := filepath.EvalSymlinks(file) // "" on errors
		if dirs := filepath.Dir(file) + "\n" + filepath.Dir(there); !met[dirs] {
			met[dirs] = true
			c.result.StaleMetadata = append(c.result.StaleMetadata, repo.Enclosing(file)...)
		}
	}
	slices.Sort(c.result.StaleMetadata)
	c.result.StaleMetadata = slices.Compact(c.result.StaleMetadata)
	for _, dir := range c.result.StaleMetadata {
		c.note("warning: the metadata of %s no longer agrees with its packages: run `imasign-build repo refresh %s`", quote.Name(dir), quote.Name(dir))
	}
}

// failures returns the errors of the packages that failed.
func (c *packageChange) failures() error {
	manifest := ""
	if c.Manifest != nil {
		manifest = "; no manifest was written"
	}
	return errors.Join(quote.Heading(fmt.Errorf("%d of %s failed; failed packages are unchanged%s", len(c.errs), report.PackageCount(c.result.Total), manifest)), errors.Join(c.errs...))
}
