package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/quote"
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

type diffReport struct {
	Command     string      `json:"command"`
	Differences []diffEntry `json:"differences"`
}

type diffEntry struct {
	jsonPath
	Change string   `json:"change"`
	Fields []string `json:"fields,omitempty"`
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
	report := diffReport{Command: "manifest diff", Differences: []diffEntry{}}
	for d, err := range manifest.Diff(manifest.NewReader(old), manifest.NewReader(now)) {
		if err != nil {
			return fmt.Errorf("compare %s with %s: %w", from, to, err)
		}
		report.Differences = append(report.Differences, diffEntry{pathJSON(d.Path), string(d.Change), d.Fields})
	}
	if a.json {
		err = a.printJSON(report)
	} else {
		a.printDiff(report)
	}
	if err == nil && len(report.Differences) > 0 {
		return errWrong
	}
	return err
}

func (a *app) printDiff(report diffReport) {
	sign := map[string]string{string(manifest.Removed): "-", string(manifest.Added): "+", string(manifest.Changed): "~"}
	for _, d := range report.Differences {
		path := printable(d.raw)
		if d.raw == "" {
			path = "header"
		}
		quote.Fprintf(a.out, "%s %s", sign[d.Change], path)
		for i, field := range d.Fields {
			separator := ": "
			if i > 0 {
				separator = ", "
			}
			quote.Fprintf(a.out, "%s%s", separator, field)
		}
		quote.Fprintf(a.out, "\n")
	}
}
