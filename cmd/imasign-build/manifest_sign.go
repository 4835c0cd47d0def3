package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

type manifestSignOptions struct {
	signerFlags

	output string
}

func newManifestSign(a *app) *cobra.Command {
	var o manifestSignOptions
	cmd := &cobra.Command{
		Use:   "sign MANIFEST",
		Short: "Sign the digests that a manifest states",
		Long: `Sign adds signatures to a manifest of digests. It needs the key, but not the files. "rpm
digests" writes such a manifest, and so does a command with --dry-run and --manifest.
"manifest apply" attaches the signatures to the files.

Valid signatures by the same key are kept. Other signatures are an error, unless --force
is given.

--evm portable also signs the metadata that the manifest states, for trees and archives.
Manifests of packages and of digests have no such metadata.`,
		Example: `  imasign-build manifest sign --key K --cert C digests.jsonl -o signed.jsonl`,
		RunE:    func(cmd *cobra.Command, args []string) error { return runManifestSign(cmd.Context(), a, o, args[0]) },
	}
	o.key.add(cmd.Flags())
	purposeVar(cmd.Flags(), &o.key.purpose)
	o.engine.addSignature(cmd.Flags())
	o.engine.addJobs(cmd.Flags())
	o.engine.addReplace(cmd.Flags())
	o.engine.reuse.add(cmd.Flags())
	o.engine.addReceipts(cmd.Flags())
	o.evm.add(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "-", "write the signed manifest to `OUT`, or to standard output with -")
	once(cmd.Flags(), "output")
	return cmd
}

func runManifestSign(ctx context.Context, a *app, o manifestSignOptions, file string) error {
	if err := o.check(a, false, nil); err != nil {
		return err
	}
	if o.output == "-" && a.json {
		return usagef("--json and the manifest would both go to standard output: write the manifest to a file with -o OUT")
	}
	progress := a.newProgress()
	progress.entries("signed", false)
	defer progress.close()
	s, err := newSigner(ctx, a, &o.signerFlags, progress.observer)
	if err != nil {
		return err
	}
	defer s.close()
	in, err := input.Open(ctx, file)
	if err != nil {
		return fmt.Errorf("open manifest: %w", err)
	}
	defer in.Close() //nolint:errcheck // opened for reading
	run := newOperation(a, "manifest sign", o.output, progress, s.Plan, false)
	run.signedBy(s.public)
	run.keeps(s.receipts)
	if run.writes(o.output); s.together() {
		run.Waiting = waitingContainers
	}
	run.Stream = false // standard output gets a whole manifest or nothing
	if err := signManifest(ctx, run, manifest.NewReader(in), o.output, o.admit(a, s)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	progress.close()
	run.result.Seconds = time.Since(run.started).Seconds()
	return run.printTo(run.summary, &report.Manifest{Change: run.result}, nil)
}

// admit returns a function that refuses containers without metadata if security.evm gets
// signatures, and warns once of contents that are not known: whoever wrote the manifest may
// have left out the check for contents that have a double use ([signing.ErrDoubleUse]).
func (o *manifestSignOptions) admit(a *app, s *signer) func(manifest.Container) error {
	blind := s.public != nil && s.public.Purpose() == ima.Unstated && o.engine.version(s.public) == 2
	return func(kind manifest.Container) error {
		if blind {
			blind = false
			a.note("warning: the contents behind the digests cannot be checked: if a kernel trusts key %s for version 3 or EVM signatures, too, a version 2 signature of certain contents passes for the signature of another file; a certificate of `key init --for v2` states that the key has no such use", s.public.ID())
		}
		if o.evm.on() && (kind == manifest.Package || kind == manifest.Digests) {
			return errNoEVMInPackages
		}
		return nil
	}
}

// signManifest signs the containers of a manifest, if admit accepts them, and writes them in the
// same order.
func signManifest(ctx context.Context, run *operation, in *manifest.Reader, output string, admit func(manifest.Container) error) error {
	date, err := run.date()
	if err != nil {
		return err
	}
	out, err := run.createLate(output)
	if err != nil {
		return err
	}
	defer out.Abort()
	run.Finish = func(context.Context, operate.Totals) error { return out.Commit() }
	units := newStatedUnits(in, admit, run.progress.observer)
	totals, err := operate.Each(ctx, 1, units.list, true, &run.Operation, func(o *operate.Outcome) error {
		d := signing.Description{Tool: tool(), Date: date, Container: o.Unit.Kind, Name: o.Name}
		if err := o.Plan.WriteManifest(out, d); err != nil {
			return fmt.Errorf("write the manifest: %w", err)
		}
		return nil
	})
	run.result.Add(totals.Counts)
	return err
}
