package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

func newRPMShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show PATH…",
		Short: "Show a package's headers, signatures and their defects",
		Long: `Show prints what the headers of packages hold: format, sizes, the room that is left
for signatures, who signed files and package, and everything that is wrong with the
file signatures. Nothing is verified. Several packages (directories: every *.rpm below
them) are shown by name, the newest version first.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return runRPMShow(a, args) },
	}
}

// shownPackage is a package and where it is.
type shownPackage struct {
	path string
	rpmsign.Info
}

func runRPMShow(a *app, paths []string) error {
	units, err := (&packageFlags{}).units(paths)
	if err != nil {
		return err
	}
	var shown []shownPackage
	var errs []error
	for _, u := range units {
		info, err := describePackage(u.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		shown = append(shown, shownPackage{u.Path, info})
	}
	slices.SortStableFunc(shown, func(a, b shownPackage) int { return a.Compare(&b.Info) })
	r := &report.PackageInfos{Head: report.Head{Command: "rpm show"}}
	for _, p := range shown {
		r.Add(p.path, p.Info)
	}
	return a.print(r, errors.Join(errs...))
}

func describePackage(path string) (rpmsign.Info, error) {
	p, err := rpmsign.Open(path, rpmsign.Options{})
	if err != nil {
		return rpmsign.Info{}, err
	}
	defer p.Close() //nolint:errcheck // opened for reading
	return p.Info(), nil
}
