package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// selectFlags select entries of a container.
type selectFlags struct {
	include, exclude, hashed []string
	verity                   verityFlags
	files                    string

	rules *selection.Rules // once compiled
}

func (f *selectFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.include, "include", nil, "select only files that match `PATTERN`")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "do not select files that match `PATTERN`")
}

// addHashed adds --hashed to a command that does verb with digests.
func (f *selectFlags) addHashed(flags *pflag.FlagSet, verb string) {
	flags.StringArrayVar(&f.hashed, "hashed", nil, verb+" a digest instead of a signature for files that match `PATTERN`")
}

// fileChoices returns what --select and --require take.
func fileChoices() []option {
	return []option{
		{string(selection.All), "every regular file"},
		{string(selection.Executable), "programs, libraries, kernel modules and firmware"},
	}
}

// addSelect adds --select to a command that does verb.
func (f *selectFlags) addSelect(flags *pflag.FlagSet, verb string) {
	choiceVar(flags, &f.files, "select", string(selection.All), "which files to "+verb, fileChoices())
}

// addRequire adds --require, with --select as another name.
func (f *selectFlags) addRequire(flags *pflag.FlagSet) {
	choiceVar(flags, &f.files, "require", string(selection.All), "which files must be signed", fileChoices())
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "select" {
			name = "require"
		}
		return pflag.NormalizedName(name)
	})
}

// given reports whether any flag selects anything.
func (f *selectFlags) given() bool {
	return len(f.include)+len(f.exclude)+len(f.hashed) > 0 || f.files == string(selection.Executable)
}

// compile compiles the rules of a run.
func (f *selectFlags) compile(observe signing.Observer) error {
	params, err := f.verity.get()
	if err != nil {
		return err
	}
	f.rules, err = selection.Compile(selection.Options{
		Include: f.include, Exclude: f.exclude, Hashed: f.hashed, Files: selection.Files(f.files), Observe: observe,
		Verity: f.verity.patterns, Parameters: params,
	})
	var pattern *selection.PatternError
	if errors.As(err, &pattern) {
		return usageError{fmt.Errorf("--%s %q: %w", pattern.List, pattern.Text, pattern.Err)}
	}
	return err
}

// wrap returns the source with its selection.
func (f *selectFlags) wrap(src signing.Source) signing.Source { return selection.New(src, f.rules) }

// beside is wrap for entries that a manifest does not list.
func (f *selectFlags) beside(src signing.Source, index *manifest.Index) signing.Source {
	return selection.Beside(src, f.rules, func(path string) bool { return index.Count(path) > 0 })
}

// warn warns of patterns that matched nothing in the run. where names what the run worked
// on: "the tree", "any package".
func (f *selectFlags) warn(a *app, where string) {
	for _, p := range f.rules.Unmatched() {
		a.warn(fmt.Sprintf("--%s %q matches nothing in %s (symbolic links are not followed: with a merged /usr it is usr/lib, not lib)", p.List, p.Text, where))
	}
}

// packageSelectFlags select files of packages.
type packageSelectFlags struct{ selectFlags }

func (f *packageSelectFlags) add(flags *pflag.FlagSet) {
	f.selectFlags.add(flags)
	for name, patterns := range map[string]*[]string{"hashed": &f.hashed, "verity": &f.verity.patterns} {
		flags.StringArrayVar(patterns, name, nil, "")
		_ = flags.MarkHidden(name) // which fails only if there is no such flag
	}
}

func (f *packageSelectFlags) compile(observe signing.Observer) error {
	if len(f.hashed) > 0 {
		return usagef("--hashed: a package has no digest-only values: rpm sets no security.ima without a signature")
	}
	if f.verity.on() {
		return usagef("--verity: a package states digests of the contents and no fs-verity digests: sign the installed tree or the image (rootfs sign --verity)")
	}
	return f.selectFlags.compile(observe)
}

// addCrossMounts adds the flag of commands that walk through a tree.
func addCrossMounts(flags *pflag.FlagSet, cross *bool) {
	flags.BoolVar(cross, "cross-mounts", false, "also enter file systems that are mounted inside the tree")
}
