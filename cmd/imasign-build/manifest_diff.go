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
		Use:   "diff OLD NEW",
		Short: "Compare two manifests",
		Long: `Diff prints a line for each path that differs between two manifests:

  - PATH  only OLD has the path
  + PATH  only NEW has the path
  ~ PATH  the entries differ; the names of the differing fields follow

Exit code 3 means that the manifests differ.`,
		Example: `  imasign-build manifest diff yesterday.jsonl today.jsonl`,
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
