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

// packageChange is a command that changes packages, and its JSON document.
type packageChange struct {
	*app `json:"-"`

	Command   string  `json:"command"`
	DryRun    bool    `json:"dry_run,omitempty"`
	Signed    int64   `json:"signed"`
	Hashed    int64   `json:"hashed"`
	Unchanged int64   `json:"unchanged"`
	Skipped   int64   `json:"skipped"`
	Cached    int64   `json:"cached"`
	Stripped  int64   `json:"stripped,omitempty"`
	Rehashed  int64   `json:"rehashed,omitempty"` // see changeReport
	Forced    int64   `json:"forced,omitempty"`
	Bytes     int64   `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	KeyID     string  `json:"key_id,omitempty"`
	Total     int     `json:"total"`   // packages
	Changed   int     `json:"changed"` // packages
	Failed    int     `json:"failed"`  // packages
	Grows     int64   `json:"grows"`   // bytes
	repoSummary
	Stale    []string      `json:"stale_metadata,omitempty"` // repositories whose metadata no longer agree
	Packages []packageLine `json:"packages,omitempty"`

	started  time.Time
	changed  []string // files that were written in place, or below --output-dir
	agree    bool     // metadata were made anew
	manifest *atomicfile.File
	listed   map[string][sha256.Size]byte // by name, what the manifest says
	errs     []error
	empty    error // what it is that no package has any file to change; nil where that is fine
}

type packageLine struct {
	jsonPath
	Name    string           `json:"name,omitempty"`
	Status  string           `json:"status"` // "changed", "unchanged", "source", "failed"
	Signed  int64            `json:"signed,omitempty"`
	Grows   int64            `json:"grows,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Defects []rpmsign.Defect `json:"defects,omitempty"`
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
	c.started, c.DryRun = time.Now(), f.dryRun
	if s.public != nil {
		c.KeyID = s.public.ID().String()
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
	c.Seconds = time.Since(c.started).Seconds()
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%w: %s done, the others are as they were", cause, packages(c.Total-c.Failed))
	}
	if len(c.errs) > 0 {
		return errors.Join(err, c.failures())
	}
	if err == nil && c.Signed+c.Hashed+c.Unchanged == 0 {
		err = c.empty
	}
	if err == nil && c.manifest != nil {
		err = c.manifest.Commit()
	}
	if err != nil {
		return err
	}
	return c.report()
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
	c.Total++
	line := packageLine{jsonPath: pathJSON(r.Path), Name: r.Name, Status: "unchanged", Signed: r.Counts.Signed, Grows: r.Grows, Defects: r.Defects}
	switch {
	case r.Err != nil:
		line.Status, line.Reason = "failed", r.Err.Error()
		c.Failed++
		c.errs = append(c.errs, r.Err)
	case r.Source:
		line.Status, line.Reason = "source", rpmsign.ErrSource.Error()
	case r.Changed:
		line.Status = "changed"
		c.Changed++
		c.Grows += r.Grows
		if file := cmp.Or(r.Output, r.Path); r.Output == "" || !c.ofRepository() {
			c.changed = append(c.changed, file)
		}
	}
	if r.Err == nil {
		n := r.Counts
		c.Signed += n.Signed
		c.Unchanged += n.Unchanged
		c.Skipped += n.Skipped
		c.Stripped += n.Stripped
		c.Hashed += n.Hashed
		c.Rehashed += n.Rehashed
		c.Forced += n.Forced
		for _, d := range r.Defects {
			c.warnOfEach("its file signatures were defective ("+string(d.Flaw)+")", "%s: its file signatures were defective (%s): %s", printable(r.Path), d.Flaw, d.Detail)
		}
	}
	if c.verbose || r.Err != nil || len(r.Defects) > 0 {
		c.Packages = append(c.Packages, line)
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
func (c *packageChange) ofRepository() bool { return strings.HasPrefix(c.Command, "repo ") }

// findStale finds repositories whose metadata do not agree any more with the packages
// that were written in place.
func (c *packageChange) findStale() {
	if c.DryRun || c.agree {
		return
	}
	met := map[string]bool{}
	for _, file := range c.changed {
		there, _ := filepath.EvalSymlinks(file) // "" is met soon
		if dirs := filepath.Dir(file) + "\n" + filepath.Dir(there); !met[dirs] {
			met[dirs] = true
			c.Stale = append(c.Stale, repo.Enclosing(file)...)
		}
	}
	slices.Sort(c.Stale)
	c.Stale = slices.Compact(c.Stale)
	for _, dir := range c.Stale {
		c.note("warning: the metadata of %s no longer agree with its packages: run `imasign-build repo refresh %s`", printable(dir), printable(dir))
	}
}

func (c *packageChange) report() error {
	if c.json {
		return c.printJSON(c)
	}
	if c.verbose {
		for _, l := range c.Packages {
			if l.Status != "failed" {
				printEntry(c.out, l.Status, l.raw, l.Reason)
			}
		}
	}
	would := ""
	if c.DryRun {
		would = "would be "
	}
	var files []string
	for _, part := range []struct {
		n    int64
		word string
	}{{c.Signed, would + "signed"}, {c.Stripped, would + "stripped"}, {c.Unchanged, "unchanged"}, {c.Skipped, "without a digest"}} {
		if part.n > 0 {
			files = append(files, fmt.Sprintf("%s %s", count(part.n), part.word))
		}
	}
	files = append(files, replaced(signing.Counts{Rehashed: c.Rehashed, Forced: c.Forced})...)
	key := ""
	if c.KeyID != "" {
		key = ", key id " + c.KeyID
	}
	quote.Fprintf(c.out, "%s, %d %schanged, %s; files: %s; %.1f s%s\n", packages(c.Total), c.Changed, would, growth(c.Grows), join(files, "none"), c.Seconds, key)
	c.print(c.app)
	return nil
}

// failures reports what was done, and returns what was not.
func (c *packageChange) failures() error {
	if err := c.report(); err != nil {
		return err
	}
	manifest := ""
	if c.manifest != nil {
		manifest = "; no manifest was written"
	}
	return errors.Join(quote.Heading(fmt.Errorf("%d of %s failed; what failed is unchanged%s", len(c.errs), packages(c.Total), manifest)), errors.Join(c.errs...))
}
