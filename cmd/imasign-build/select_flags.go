package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/signing"
)

// selectFlags choose entries of a container.
type selectFlags struct {
	include, exclude, hashed []string
	files                    string
	filesFlag                string // --select or --require

	rules *selection.Rules // once compiled
}

func (f *selectFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.include, "include", nil, "only what matches this `pattern`; may be repeated")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "not what matches this `pattern`; may be repeated")
}

func (f *selectFlags) addHashed(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.hashed, "hashed", nil, "a digest instead of a signature for what matches this `pattern`; may be repeated")
}

// addSelect adds --select to a command that does verb.
func (f *selectFlags) addSelect(flags *pflag.FlagSet, verb string) {
	f.filesFlag = "select"
	flags.StringVar(&f.files, "select", string(selection.All), "which `files` to "+verb+": all regular ones, or executable ones")
}

// addRequire adds --require, and takes --select for it.
func (f *selectFlags) addRequire(flags *pflag.FlagSet) {
	f.filesFlag = "require"
	flags.StringVar(&f.files, "require", string(selection.All), "which `files` must be signed: all regular ones, or executable ones")
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

// errManifestSelects refuses a second opinion.
var errManifestSelects = usagef("--manifest says itself which files are signed: leave out --include, --exclude, --hashed and --require")

// compile compiles the rules of a run.
func (f *selectFlags) compile(observe signing.Observer) (err error) {
	f.rules, err = selection.Compile(selection.Options{
		Include: f.include, Exclude: f.exclude, Hashed: f.hashed, Files: selection.Files(f.files), Observe: observe,
	})
	var pattern *selection.PatternError
	switch {
	case errors.As(err, &pattern):
		return usageError{fmt.Errorf("--%s %q: %w", pattern.List, pattern.Text, pattern.Err)}
	case errors.Is(err, selection.ErrFiles):
		return usagef("--%s %s: it is all or executable", f.filesFlag, quote.Name(f.files))
	}
	return err
}

// wrap is the source with what was selected.
func (f *selectFlags) wrap(src signing.Source) signing.Source { return selection.New(src, f.rules) }

// warn warns of patterns that matched nothing in the run, which was about where: "the
// tree", "any package".
func (f *selectFlags) warn(a *app, where string) {
	for _, p := range f.rules.Unmatched() {
		a.warn(fmt.Sprintf("--%s %q matches nothing in %s (symbolic links are not followed: with a merged /usr it is usr/lib, not lib)", p.List, p.Text, where))
	}
}

// packageSelectFlags choose files of packages.
type packageSelectFlags struct{ selectFlags }

func (f *packageSelectFlags) add(flags *pflag.FlagSet) {
	f.selectFlags.add(flags)
	flags.StringArrayVar(&f.hashed, "hashed", nil, "")
	_ = flags.MarkHidden("hashed") // it is there
}

func (f *packageSelectFlags) compile(observe signing.Observer) error {
	if len(f.hashed) > 0 {
		return usagef("--hashed: a package has no digest-only values: rpm sets no security.ima without a signature")
	}
	return f.selectFlags.compile(observe)
}

const patternHelp = `
Patterns are like those of .gitignore: the last one that matches decides, "!"
takes back. "*.conf" matches a name at any depth, "/etc" or "etc/ssl" a path from
the root with all below it, "cache/" what is below any directory of that name, "**"
any number of directories, "{bin,sbin}" alternatives.`

// addCrossMounts adds the flag of commands that walk through a tree.
func addCrossMounts(flags *pflag.FlagSet, cross *bool) {
	flags.BoolVar(cross, "cross-mounts", false, "enter file systems that are mounted inside the tree")
}
