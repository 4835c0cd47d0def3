package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/pkg/manifest"
)

func newManifestDiff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two manifests",
		Long: `Diff prints what differs between two manifests: a path that only one has (- or +)
or whose line differs (~), and in what. Exit code 3 means that they differ.`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runManifestDiff(cmd.Context(), a, args[0], args[1])
		},
	}
}

func runManifestDiff(ctx context.Context, a *app, from, to string) error {
	old, _, err := openManifest(ctx, from)
	if err != nil {
		return err
	}
	defer old.Close() //nolint:errcheck // opened for reading
	now, _, err := openManifest(ctx, to)
	if err != nil {
		return err
	}
	defer now.Close() //nolint:errcheck // opened for reading
	r := &report.Diff{Head: report.Head{Command: "manifest diff"}}
	for d, err := range manifest.Diff(manifest.NewReader(old), manifest.NewReader(now)) {
		if err != nil {
			return fmt.Errorf("compare %s with %s: %w", from, to, err)
		}
		r.Differences = append(r.Differences, report.Difference{Path: report.PathOf(d.Path), Change: d.Change, Fields: d.Fields})
	}
	if len(r.Differences) > 0 {
		return a.print(r, errWrong)
	}
	return a.print(r, nil)
}
