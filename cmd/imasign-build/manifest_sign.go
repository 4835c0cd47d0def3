package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

type manifestSignOptions struct {
	key    keyFlags
	engine engineFlags
	output string
}

func newManifestSign(a *app) *cobra.Command {
	var o manifestSignOptions
	cmd := &cobra.Command{
		Use:   "sign MANIFEST",
		Short: "Sign the digests that a manifest states",
		Long: `Sign makes the signatures for a manifest of digests: no file content is needed, only
the key. The manifest comes from "rpm digests" or a --dry-run --manifest; "manifest
apply" attaches what was signed.

Valid signatures by the same key are kept; others are an error without --force.`,
		Example: `  imasign-build manifest sign --key K --cert C digests.jsonl -o signed.jsonl`,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return runManifestSign(cmd.Context(), a, o, args[0]) },
	}
	o.key.add(cmd.Flags())
	o.engine.addJobs(cmd.Flags())
	o.engine.addReplace(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "-", "write the signed manifest to this `file`, - for standard output")
	once(cmd.Flags(), "output")
	return cmd
}

func runManifestSign(ctx context.Context, a *app, o manifestSignOptions, file string) error {
	o.key.fromEnvironment(a)
	if o.key.key == "" {
		return usagef("which key? --key URI")
	}
	if o.output == "-" && a.json {
		return usagef("--json and the manifest both go to standard output: give --output")
	}
	key, err := o.key.open(ctx, a)
	if err != nil {
		return err
	}
	defer key.Close() //nolint:errcheck // nothing is left to be lost
	progress := a.newProgress()
	defer progress.close()
	engine, err := o.engine.engine(key, nil, progress.observer)
	if err != nil {
		return err
	}
	date, err := a.date()
	if err != nil {
		return err
	}
	in, err := input.Open(ctx, file)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer in.Close() //nolint:errcheck // opened for reading
	s := manifestSigning{app: a, engine: engine, date: date, started: time.Now()}
	if err := a.writeOutput(o.output, func(out io.Writer) error { return s.run(ctx, manifest.NewReader(in), out) }); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	progress.close()
	return s.report(key.Public.ID().String(), o.output)
}

// manifestSigning signs a manifest container by container.
type manifestSigning struct {
	*app

	engine  *signing.Engine
	date    time.Time
	counts  signing.Counts
	started time.Time
}

func (s *manifestSigning) run(ctx context.Context, in *manifest.Reader, out io.Writer) error {
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.container(ctx, header, in, out); err != nil {
			return err
		}
	}
}

func (s *manifestSigning) container(ctx context.Context, header manifest.Header, in *manifest.Reader, out io.Writer) error {
	plan, err := s.engine.Plan(ctx, signing.Stated(in.Lines()))
	if err != nil {
		return err
	}
	defer plan.Close() //nolint:errcheck // its file has no name
	s.counts.Add(plan.Counts())
	return plan.WriteManifest(out, signing.Description{Tool: tool, Container: header.Container, Name: header.Name, Date: s.date})
}

func (s *manifestSigning) report(keyID, output string) error {
	r := &report.Manifest{Change: report.Change{Head: report.Head{Command: "manifest sign"}, Seconds: time.Since(s.started).Seconds(), KeyID: keyID, Of: output}}
	r.Add(s.counts)
	summary := io.Writer(s.out)
	if output == "-" {
		summary = s.err
	}
	return s.printTo(summary, r, nil)
}
