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
		Short: "Show the headers and signatures of packages, and their defects",
		Long: `Show describes the headers of packages: their format and sizes, the space left for
signatures, the keys that signed the files and the package, and all defects of the file
signatures. It verifies nothing. PATH is a package, or a directory whose *.rpm files at
any depth are shown. Packages are sorted by name, newest version first.`,
		Example: `  imasign-build rpm show one.rpm
  imasign-build rpm show RPMS/`,
		RunE: func(_ *cobra.Command, args []string) error { return runRPMShow(a, args) },
	}
}

// shownPackage is a package with its path.
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
