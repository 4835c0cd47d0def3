package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/operate"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

type manifestApplyOptions struct {
	trust       trustFlags
	evm         evmTrustFlags
	engine      engineFlags
	packages    packageFlags
	crossMounts bool
	input       tarInputFlags
	output      tarOutputFlags
	dryRun      bool
	allowEmpty  bool
}

func newManifestApply(a *app) *cobra.Command {
	var o manifestApplyOptions
	cmd := &cobra.Command{
		Use:   "apply MANIFEST TARGET…",
		Short: "Attach the signatures in a manifest to a tree, an archive or packages",
		Long: `Apply attaches the signatures that a manifest states to TARGET. The kind of TARGET depends on
the manifest:

  DIR         a directory tree, for the manifest of a tree
  IN -o OUT   a tar archive and its copy, for the manifest of a tree or archive
  PATH…       packages and directories of packages, for a manifest of packages or digests

Apply first checks the content of every file and every signature. It changes nothing in
a tree or archive if a file is missing, if the content of a file does not match the
manifest, or if a signature is not valid for a trusted certificate.

If the manifest has values for security.evm, --evm-cert names the certificate. Apply
verifies them with the metadata that the files have now.

Packages are changed one by one: apply changes each package whose files all match. It
names the others and leaves them as they are.`,
		Example: `  imasign-build rootfs sign --key K --cert C --output none --manifest m.jsonl rootfs/
  imasign-build manifest apply --cert C m.jsonl rootfs/   # as root
  imasign-build manifest apply --cert C m.jsonl rootfs.tar -o signed.tar
  imasign-build manifest apply --cert C signed.jsonl RPMS/`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runManifestApply(cmd.Context(), a, o, cmd.Flags(), args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	o.trust.add(flags)
	purposeVar(flags, &o.trust.purpose)
	o.evm.add(flags)
	o.engine.addJobs(flags)
	o.engine.addForce(flags)
	addCrossMounts(flags, &o.crossMounts)
	flags.BoolVar(&o.dryRun, "dry-run", false, "check everything, but change nothing")
	flags.BoolVar(&o.allowEmpty, "allow-empty", false, "succeed even if the manifest has nothing to attach")
	o.packages.addApply(flags)
	o.input.add(flags)
	o.output.add(flags)
	return cmd
}

// errNothingToApply means that a manifest has no value for any entry of its target.
var errNothingToApply = errors.New("the manifest has nothing to attach there")

// check refuses flags that have no effect on the target of a manifest of that kind.
func (o *manifestApplyOptions) check(flags *pflag.FlagSet, kind manifest.Container) error {
	tar, packages, tree := []string{"unpack-limit", "compression"}, []string{"check", "rpm-max-header", "output-dir"}, []string{"cross-mounts"}
	if err := o.evm.idle(flags); err != nil {
		return err
	}
	switch {
	case o.output.file != "":
		return errors.Join(idle(flags, "packages", packages...), idle(flags, "trees", tree...))
	case kind == manifest.Tree:
		return errors.Join(idle(flags, "archives", tar...), idle(flags, "packages", packages...))
	}
	return errors.Join(idle(flags, "archives", tar...), idle(flags, "trees", tree...), idle(flags, "trees and archives", "evm-cert"))
}

// plan applies the manifest to a container. It fails if the manifest has no value for it.
func (o *manifestApplyOptions) plan(ctx context.Context, a *app, engine *signing.Engine, src signing.Source, index *manifest.Index, trust signing.Trust) (*signing.Plan, error) {
	if err := o.evm.learn(ctx, a, src); err != nil {
		return nil, err
	}
	trust.Index = index
	plan, err := engine.Apply(ctx, src, trust)
	if err != nil || o.allowEmpty {
		return plan, err
	}
	if n := plan.Counts(); n.Pending()+n.Unchanged == 0 {
		_ = plan.Close()
		return nil, errNothingToApply
	}
	return plan, nil
}

func runManifestApply(ctx context.Context, a *app, o manifestApplyOptions, flags *pflag.FlagSet, file string, targets []string) error {
	var trust signing.Trust
	var err error
	if trust.Ring, err = o.trust.ring(ctx, a); err != nil {
		return err
	}
	o.evm.require = true // of the manifest's values, the stage applies to all
	if trust.EVM, err = o.evm.ring(ctx, o.trust.purpose); err != nil {
		return err
	}
	catalog, closeCatalog, err := openCatalog(ctx, file)
	if err != nil {
		return err
	}
	defer closeCatalog()
	if err := o.check(flags, catalog.Headers()[0].Container); err != nil {
		return err
	}
	toTar := o.output.file != ""
	switch kind := catalog.Headers()[0].Container; {
	case toTar && (kind == manifest.Tree || kind == manifest.Archive):
		return applyToTar(ctx, a, o, trust, catalog, targets)
	case toTar:
		return usagef("-o is for archives, but this manifest (%q) is for packages", kind)
	case kind == manifest.Archive:
		return usagef("this manifest is for an archive: -o OUT names the signed copy")
	case kind == manifest.Tree:
		return applyToTree(ctx, a, o, trust, catalog, targets)
	case kind == manifest.Package, kind == manifest.Digests:
		return applyToPackages(ctx, a, o, trust, catalog, targets)
	default:
		return fmt.Errorf("%s: a manifest of %q cannot be applied", file, kind)
	}
}

// applyToPackages gives each package the values that the manifest states under its name, or
// for its digests.
func applyToPackages(ctx context.Context, a *app, o manifestApplyOptions, trust signing.Trust, catalog *manifest.Catalog, paths []string) error {
	o.packages.jobs, o.packages.dryRun = o.engine.jobs, o.dryRun
	c, err := newPackageChange(a, "manifest apply", &o.packages, nil)
	if err != nil {
		return err
	}
	defer c.progress.close()
	c.warnOfRoom(trust.Ring.MaxValueSize())
	engine, err := o.engine.engine(nil, nil, c.progress.observer)
	if err != nil {
		return err
	}
	var all *manifest.Index // of digests, for every package
	if catalog.Headers()[0].Container == manifest.Digests {
		if all, err = catalog.Index(""); err != nil {
			return err
		}
	}
	c.Plan = func(ctx context.Context, name string, src signing.Source) (*signing.Plan, error) {
		index, err := all, error(nil)
		if all == nil {
			index, err = catalog.Index(name)
		}
		if err != nil {
			return nil, err
		}
		return engine.Apply(ctx, src, signing.Trust{Ring: trust.Ring, Index: index})
	}
	if !o.allowEmpty {
		c.empty = errNothingToApply
	}
	return c.paths(ctx, paths, &o.packages)
}

// applyToTree attaches the manifest's values to the files of a directory.
func applyToTree(ctx context.Context, a *app, o manifestApplyOptions, trust signing.Trust, catalog *manifest.Catalog, dirs []string) error {
	if len(dirs) != 1 {
		return usagef("this manifest is for one tree, but %d were given", len(dirs))
	}
	return o.applyTo(ctx, a, dirs[0], trust, catalog, "", func(run *operation) operate.Unit {
		run.progress.count(treeCount{paths: dirs, crossMounts: o.crossMounts})
		return inPlace(dirs[0], rootfs.Options{CrossMounts: o.crossMounts, Jobs: o.engine.jobs}, run)
	})
}

// applyToTar attaches the manifest's values to a copy of an archive.
func applyToTar(ctx context.Context, a *app, o manifestApplyOptions, trust signing.Trust, catalog *manifest.Catalog, files []string) error {
	headers := catalog.Headers()
	if len(files) != 1 || len(headers) != 1 {
		return usagef("a manifest of one archive or tree goes to one archive: this one has %d, for %d", len(headers), len(files))
	}
	if err := o.output.check(a, o.dryRun, false, "", ""); err != nil {
		return err
	}
	return o.applyTo(ctx, a, files[0], trust, catalog, headers[0].Name, func(run *operation) operate.Unit {
		o.output.jobs = o.engine.jobs
		run.writes(o.output.file)
		return o.output.copyOf(a, &o.input, files[0], run.progress.observer)
	})
}

// applyTo attaches the values that the manifest states for the container called name.
func (o *manifestApplyOptions) applyTo(ctx context.Context, a *app, target string, trust signing.Trust, catalog *manifest.Catalog, name string, unit func(*operation) operate.Unit) error {
	index, err := catalog.Index(name)
	if err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	engine, err := o.engine.engine(nil, nil, progress.observer, o.evm.stages()...)
	if err != nil {
		return err
	}
	run := newOperation(a, "manifest apply", target, progress, func(ctx context.Context, src signing.Source) (*signing.Plan, error) {
		return o.plan(ctx, a, engine, src, index, trust)
	}, o.dryRun)
	return run.run(ctx, unit(run))
}

// openCatalog opens a manifest of any number of containers.
func openCatalog(ctx context.Context, file string) (*manifest.Catalog, func(), error) {
	f, size, err := openManifest(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	catalog, err := manifest.NewCatalog(f, size)
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return catalog, func() { _ = f.Close() }, nil
}

// maxManifest is the largest size, in bytes, of a manifest from a pipe: about 10 million
// entries.
const maxManifest = 4 << 30

// openManifest opens a manifest for reading at any offset.
func openManifest(ctx context.Context, file string) (*os.File, int64, error) {
	f, err := input.Seekable(ctx, file, maxManifest)
	if err != nil {
		return nil, 0, fmt.Errorf("open manifest: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
