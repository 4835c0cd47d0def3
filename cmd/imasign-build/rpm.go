package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/rpmsign"
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
	flags.StringVar(&f.limit, "rpm-max-header", "64M", "largest signature header that rpm on the devices takes: 8K (rpm 4.14), 64K (rpm 4.15) or `64M` (rpm 4.16 and later)")
}

func (f *packageFlags) addOutput(flags *pflag.FlagSet) {
	flags.StringVar(&f.outputDir, "output-dir", "", "write packages below this `directory` instead of in place")
	once(flags, "output-dir")
}

func (f *packageFlags) level() (rpmsign.Level, error) {
	if f.jobs < 0 {
		return "", usagef("--jobs %d: at least 1", f.jobs)
	}
	switch level := rpmsign.Level(f.check); level {
	case rpmsign.CheckPayload, rpmsign.CheckHeader, rpmsign.CheckFiles:
		return level, nil
	}
	return "", usagef("--check %s: it is %s, %s or %s", quote.Name(f.check), rpmsign.CheckPayload, rpmsign.CheckHeader, rpmsign.CheckFiles)
}

// headerLimits are the largest signature headers that versions of rpm take, in bytes.
func headerLimits() map[string]uint32 {
	return map[string]uint32{"8K": 8 << 10, "64K": 64 << 10, "64M": 64 << 20}
}

var errNoPackages = errors.New("no packages")

// units finds the packages and the directories that their copies go to.
func (f *packageFlags) units(paths []string) ([]rpmfiles.Unit, error) {
	units, err := rpmfiles.Find(paths, f.outputDir)
	switch {
	case errors.Is(err, rpmfiles.ErrSameOutput):
		return nil, usageError{err}
	case err != nil:
		return nil, err
	case len(units) == 0:
		return nil, fmt.Errorf("%w: there is no *.rpm file in %s: check the path", errNoPackages, strings.Join(paths, ", "))
	}
	return units, nil
}

// options are those of every package that is changed.
func (f *packageFlags) options() (rpmsign.Options, error) {
	if f.manifest == "-" {
		return rpmsign.Options{}, usagef("--manifest -: that of packages goes to a file")
	}
	limit, known := headerLimits()[f.limit]
	if !known {
		return rpmsign.Options{}, usagef("--rpm-max-header %s: it is 8K (rpm 4.14), 64K (rpm 4.15) or 64M (rpm 4.16 and later)", quote.Name(f.limit))
	}
	return rpmsign.Options{MaxHeader: limit}, nil
}

// eachPackage calls work for the packages at units, and hands the results to take in
// their order.
func eachPackage[T any](ctx context.Context, jobs int, units []rpmfiles.Unit, work func(context.Context, rpmfiles.Unit) T, take func(T) error) error {
	worker := func() func(context.Context, rpmfiles.Unit) T { return work }
	return pipeline.Ordered(ctx, jobs, 4*pipeline.Jobs(jobs), pipeline.Of(units), worker, take)
}
