package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

func newRPMStrip(a *app) *cobra.Command {
	var (
		packages packageFlags
		choice   packageSelectFlags
	)
	cmd := &cobra.Command{
		Use:   "strip PATH…",
		Short: "Remove the file signatures from packages",
		Long: `Strip removes the file signatures from packages, whoever made them, defective ones
included. OpenPGP signatures stay, and stay valid. Files that are not selected keep their
signatures.
` + patternHelp,
		Args: usageArgs(cobra.MinimumNArgs(1)),
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
	s, err := newPackageStrip(a, &packages, &choice)
	if err != nil {
		return err
	}
	defer s.close()
	defer choice.warn(a, "any package")
	run := newPackageChange(a, "rpm strip")
	return run.units(ctx, paths, &packages, s)
}

// newPackageStrip is all that stripping packages needs, opened.
func newPackageStrip(a *app, packages *packageFlags, choice *packageSelectFlags) (*packageSigning, error) {
	s := &packageSigning{progress: a.newProgress()}
	options, err := packages.signing(s.progress.observer)
	if err == nil {
		err = choice.compile(s.progress.observer)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	engine, err := (&engineFlags{jobs: packages.jobs}).engine(nil, nil, s.progress.observer)
	if err != nil {
		s.close()
		return nil, err
	}
	s.signing = options
	s.signing.Plan = func(ctx context.Context, p *rpmsign.Package) (*signing.Plan, error) {
		return engine.Strip(ctx, choice.wrap(p))
	}
	return s, nil
}
