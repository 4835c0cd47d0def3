package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// packageFlags are how packages are read and written.
type packageFlags struct {
	check, limit, outputDir, manifest string
	jobs                              int
	dryRun                            bool
}

func (f *packageFlags) addRead(flags *pflag.FlagSet) {
	f.addCheck(flags)
	flags.IntVarP(&f.jobs, "jobs", "j", 0, "packages to work on at a time (default: one a core)")
}

func (f *packageFlags) addCheck(flags *pflag.FlagSet) {
	flags.StringVar(&f.check, "check", string(rpmsign.CheckPayload), "what must hold of a package: `payload` (all digests of headers and payload), header (headers and length alone), or files (payload unpacked, every file digested)")
}

// addSign adds the flags of what signs or strips packages.
func (f *packageFlags) addSign(flags *pflag.FlagSet) {
	f.addRead(flags)
	f.addLimit(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would change, change nothing")
	flags.StringVar(&f.manifest, "manifest", "", "write the manifest, one header a package, to this `file`")
	once(flags, "manifest")
}

// addApply adds those of what gives packages signatures that were made elsewhere.
func (f *packageFlags) addApply(flags *pflag.FlagSet) {
	f.addCheck(flags)
	f.addLimit(flags)
	f.addOutput(flags)
}

func (f *packageFlags) addLimit(flags *pflag.FlagSet) {
	flags.StringVar(&f.limit, "rpm-max-header", rpmsign.Limit64M.String(), "largest signature header that rpm on the devices takes: 8K (rpm 4.14), 64K (rpm 4.15) or `64M` (rpm 4.16 and later)")
}

func (f *packageFlags) addOutput(flags *pflag.FlagSet) {
	flags.StringVar(&f.outputDir, "output-dir", "", "write packages below this `directory` instead of in place")
	once(flags, "output-dir")
}

func (f *packageFlags) level() (rpmsign.Level, error) {
	level, err := rpmsign.ParseLevel(f.check)
	if err != nil {
		return "", usageError{err}
	}
	if f.jobs < 0 {
		return "", usagef("--jobs %d: at least 1", f.jobs)
	}
	return level, nil
}

func (f *packageFlags) parallel() int {
	if f.jobs == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return f.jobs
}

var errNoPackages = errors.New("no packages")

// units finds the packages and the directories that their copies go to.
func (f *packageFlags) units(paths []string) ([]rpmsign.Unit, error) {
	units, err := rpmsign.FindUnits(paths, f.outputDir)
	switch {
	case errors.Is(err, rpmsign.ErrSameOutput):
		return nil, usageError{err}
	case err != nil:
		return nil, err
	case len(units) == 0:
		return nil, fmt.Errorf("%w: there is no file called *.rpm below %s", errNoPackages, paths)
	}
	return units, nil
}

// signing starts what a command that changes packages has to say.
func (f *packageFlags) signing(observe signing.Observer) (*rpmsign.Signing, error) {
	level, err := f.level()
	if err != nil {
		return nil, err
	}
	if f.manifest == "-" {
		return nil, usagef("--manifest -: that of packages goes to a file")
	}
	limit, err := rpmsign.ParseHeaderLimit(f.limit)
	if err != nil {
		return nil, usageError{fmt.Errorf("--rpm-max-header: %w", err)}
	}
	return &rpmsign.Signing{Options: rpmsign.Options{MaxHeader: limit, Observe: observe}, Level: level, DryRun: f.dryRun}, nil
}

// packageChange is a command that changes packages.
type packageChange struct {
	*app

	result   report.PackageChange
	started  time.Time
	changed  []string // files that were written in place, or below --output-dir
	agree    bool     // metadata were made anew
	manifest *atomicfile.File
	listed   map[string][sha256.Size]byte // by name, what the manifest says
	errs     []error
	empty    error // what it is that no package has any file to change; nil where that is fine
}

func newPackageChange(a *app, command string) *packageChange {
	return &packageChange{app: a, result: report.PackageChange{Head: report.Head{Command: command}, Verbose: a.verbose}}
}

// units finds the packages at paths and has s run over them.
func (c *packageChange) units(ctx context.Context, paths []string, f *packageFlags, s *packageSigning) error {
	units, err := f.units(paths)
	if err != nil {
		return err
	}
	if !f.dryRun {
		if err := rpmsign.MakeOutputDirs(units); err != nil {
			return err
		}
	}
	return c.do(ctx, f, s, func(ctx context.Context, take func(rpmsign.Result) error) error {
		return rpmsign.Each(ctx, f.parallel(), units, s.signing.Run, take)
	})
}

// do has run work on packages and reports. Packages that are done stay done when
// others fail.
func (c *packageChange) do(ctx context.Context, f *packageFlags, s *packageSigning, run func(context.Context, func(rpmsign.Result) error) error) error {
	c.started, c.result.DryRun = time.Now(), f.dryRun
	if s.public != nil {
		c.result.KeyID = s.public.ID().String()
	}
	if err := c.startManifest(f, s.signing); err != nil {
		return err
	}
	if c.manifest != nil {
		defer c.manifest.Abort()
	}
	err := run(ctx, c.take)
	s.progress.close()
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
	if err == nil && c.manifest != nil {
		err = c.manifest.Commit()
	}
	if err != nil {
		return err
	}
	return c.print(&c.result, nil)
}

func (c *packageChange) startManifest(f *packageFlags, s *rpmsign.Signing) error {
	if f.manifest == "" {
		return nil
	}
	date, err := c.date()
	if err != nil {
		return err
	}
	s.Describe = &signing.Description{Tool: tool, Date: date}
	c.listed = map[string][sha256.Size]byte{}
	c.manifest, err = atomicfile.Create(f.manifest, 0o644)
	return err
}

func (c *packageChange) take(r rpmsign.Result) error {
	c.result.Take(r)
	switch file := cmp.Or(r.Output, r.Path); {
	case r.Err != nil:
		c.errs = append(c.errs, r.Err)
	case r.Changed && (r.Output == "" || !c.ofRepository()):
		c.changed = append(c.changed, file)
	}
	if r.Err == nil {
		for _, d := range r.Defects {
			c.warnOfEach("its file signatures were defective ("+string(d.Flaw)+")", "%s: its file signatures were defective (%s): %s", quote.Name(r.Path), d.Flaw, d.Detail)
		}
	}
	return c.writeManifest(r)
}

// writeManifest adds a package's lines, once for several copies of one package.
func (c *packageChange) writeManifest(r rpmsign.Result) error {
	if c.manifest == nil || len(r.Manifest) == 0 {
		return nil
	}
	sum := sha256.Sum256(r.Manifest)
	switch first, met := c.listed[r.Name]; {
	case met && first == sum:
		return nil
	case met:
		return fmt.Errorf("%s: another package is called %s as well, but differs: a manifest cannot hold both", r.Path, r.Name)
	}
	c.listed[r.Name] = sum
	_, err := c.manifest.Write(r.Manifest)
	return err
}

// ofRepository reports whether the command changes a repository as a whole.
func (c *packageChange) ofRepository() bool { return strings.HasPrefix(c.result.Command, "repo ") }

// findStale finds repositories whose metadata do not agree any more with the packages
// that were written in place.
func (c *packageChange) findStale() {
	if c.result.DryRun || c.agree {
		return
	}
	met := map[string]bool{}
	for _, file := range c.changed {
		there, _ := filepath.EvalSymlinks(file) // "" is met soon
		if dirs := filepath.Dir(file) + "\n" + filepath.Dir(there); !met[dirs] {
			met[dirs] = true
			c.result.StaleMetadata = append(c.result.StaleMetadata, repo.Enclosing(file)...)
		}
	}
	slices.Sort(c.result.StaleMetadata)
	c.result.StaleMetadata = slices.Compact(c.result.StaleMetadata)
	for _, dir := range c.result.StaleMetadata {
		c.note("warning: the metadata of %s no longer agree with its packages: run `imasign-build repo refresh %s`", quote.Name(dir), quote.Name(dir))
	}
}

// failures are the errors of the packages that failed.
func (c *packageChange) failures() error {
	manifest := ""
	if c.manifest != nil {
		manifest = "; no manifest was written"
	}
	return errors.Join(quote.Heading(fmt.Errorf("%d of %s failed; what failed is unchanged%s", len(c.errs), report.PackageCount(c.result.Total), manifest)), errors.Join(c.errs...))
}
