package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// packageFlags say how packages are read and written.
type packageFlags struct {
	check, limit, outputDir, manifest string
	jobs                              int
	dryRun                            bool
}

func (f *packageFlags) addRead(flags *pflag.FlagSet) {
	f.addCheck(flags)
	jobsVar(flags, &f.jobs, "packages")
}

func (f *packageFlags) addCheck(flags *pflag.FlagSet) {
	choiceVar(flags, &f.check, "check", string(rpmsign.CheckPayload), "what to check in each package", []option{
		{string(rpmsign.CheckPayload), "digests of headers and payload"}, {string(rpmsign.CheckHeader), "headers and length only"},
		{string(rpmsign.CheckFiles), "also each file in the unpacked payload"},
	})
}

// addSign adds the flags of commands that sign or strip packages.
func (f *packageFlags) addSign(flags *pflag.FlagSet) {
	f.addRead(flags)
	f.addLimit(flags)
	flags.BoolVar(&f.dryRun, "dry-run", false, "report what would change, but change nothing")
	flags.StringVar(&f.manifest, "manifest", "", "write a manifest of the files in all packages to `FILE`")
	once(flags, "manifest")
}

// addApply adds the flags of the command that attaches signatures made elsewhere.
func (f *packageFlags) addApply(flags *pflag.FlagSet) {
	f.addCheck(flags)
	f.addLimit(flags)
	f.addOutput(flags)
}

func (f *packageFlags) addLimit(flags *pflag.FlagSet) {
	choiceVar(flags, &f.limit, "rpm-max-header", "64M", "largest signature header that rpm on the devices accepts", []option{
		{"8K", "rpm 4.14"}, {"64K", "rpm 4.15"}, {"64M", "rpm 4.16 and later"},
	})
}

func (f *packageFlags) addOutput(flags *pflag.FlagSet) {
	flags.StringVar(&f.outputDir, "output-dir", "", "write packages below `DIR` instead of replacing them")
	once(flags, "output-dir")
}

func (f *packageFlags) level() (rpmsign.Level, error) {
	return rpmsign.Level(f.check), checkJobs(f.jobs)
}

// headerLimits returns the largest signature headers, in bytes, that versions of rpm
// accept, by their name in --rpm-max-header.
func headerLimits() map[string]uint32 {
	return map[string]uint32{"8K": 8 << 10, "64K": 64 << 10, "64M": 64 << 20}
}

var errNoPackages = errors.New("no packages")

// units finds the packages at paths, and the directories for their copies.
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

// options returns the options for every package that is changed.
func (f *packageFlags) options() (rpmsign.Options, error) {
	if f.manifest == "-" {
		return rpmsign.Options{}, usagef("--manifest -: the manifest of packages must go to a file")
	}
	return rpmsign.Options{MaxHeader: headerLimits()[f.limit]}, nil
}

// eachPackage calls work for the packages at units, several at a time. It passes the results
// to take in the order of units.
func eachPackage[T any](ctx context.Context, jobs int, units []rpmfiles.Unit, work func(context.Context, rpmfiles.Unit) T, take func(T) error) error {
	worker := func() func(context.Context, rpmfiles.Unit) T { return work }
	return pipeline.Ordered(ctx, jobs, 4*pipeline.Jobs(jobs), pipeline.Of(units), worker, take)
}
