package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newRPMStrip(a *app) *cobra.Command {
	var (
		packages packageFlags
		choice   packageSelectFlags
	)
	cmd := &cobra.Command{
		Use:   "strip PATH…",
		Short: "Remove the file signatures from packages",
		Long: `Strip removes the file signatures from packages, whichever key made them, including
defective ones. OpenPGP signatures remain and stay valid. Files that are not selected
keep their signatures. PATH is a package, or a directory whose *.rpm files at any depth
are stripped.`,
		Example: `  imasign-build rpm strip RPMS/
  imasign-build rpm strip --output-dir stripped one.rpm`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRPMStrip(cmd.Context(), a, packages, choice, args)
		},
	}
	packages.addSign(cmd.Flags())
	packages.addOutput(cmd.Flags())
	choice.add(cmd.Flags())
	choice.addSelect(cmd.Flags(), "strip")
	return cmd
}

func runRPMStrip(ctx context.Context, a *app, packages packageFlags, choice packageSelectFlags, paths []string) error {
	c, err := newPackageStrip(a, "rpm strip", &packages, &choice)
	if err != nil {
		return err
	}
	defer c.progress.close()
	return c.paths(ctx, paths, &packages)
}

// newPackageStrip returns a change of packages that removes their file signatures.
func newPackageStrip(a *app, command string, packages *packageFlags, choice *packageSelectFlags) (*packageChange, error) {
	c, err := newPackageChange(a, command, packages, choice)
	if err != nil {
		return nil, err
	}
	engine, err := (&engineFlags{jobs: packages.jobs}).engine(nil, nil, c.progress.observer)
	if err != nil {
		c.progress.close()
		return nil, err
	}
	c.Plan, c.strips = planner(engine.Strip).ofAny, true
	return c, nil
}
