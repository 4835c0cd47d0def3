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
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

type manifestApplyOptions struct {
	trust       trustFlags
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
		Use:   "apply MANIFEST DIR|RPM…|IN.tar -o OUT.tar",
		Short: "Attach the signatures of a manifest to a tree, an archive or packages",
		Long: `Apply attaches what a manifest states. In a tree every file is digested first: where
the content is not what the manifest says, a file is missing, or a signature does not
hold with a trusted certificate, nothing at all is attached. With -o the signatures
go into a copy of a tar archive, which may be compressed.

A manifest of packages, or of digests ("rpm digests"), goes to packages and to
directories of packages: each one whose files all match is written, the others are
named and stay as they are.`,
		Example: `  imasign-build rootfs sign --key K --cert C --output none --manifest m.jsonl rootfs/
  imasign-build manifest apply --cert C m.jsonl rootfs/                # as root
  imasign-build manifest apply --cert C m.jsonl rootfs.tar -o signed.tar
  imasign-build manifest apply --cert C signed.jsonl RPMS/`,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runManifestApply(cmd.Context(), a, o, cmd.Flags(), args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	o.trust.add(flags)
	o.engine.addJobs(flags)
	o.engine.addForce(flags)
	addCrossMounts(flags, &o.crossMounts)
	flags.BoolVar(&o.dryRun, "dry-run", false, "check everything, change nothing")
	flags.BoolVar(&o.allowEmpty, "allow-empty", false, "succeed even if the manifest has nothing to attach")
	o.packages.addApply(flags)
	o.input.add(flags)
	o.output.add(flags)
	return cmd
}

// errNothingToApply means that a manifest has no value for anything in its target.
var errNothingToApply = errors.New("the manifest has nothing to attach there")

// check refuses flags that mean nothing for what a manifest of that kind goes to.
func (o *manifestApplyOptions) check(flags *pflag.FlagSet, kind manifest.Container) error {
	tar, packages, tree := []string{"unpack-limit", "compression"}, []string{"check", "rpm-max-header", "output-dir"}, []string{"cross-mounts"}
	switch {
	case o.output.file != "":
		return errors.Join(idle(flags, "packages", packages...), idle(flags, "trees", tree...))
	case kind == manifest.Tree:
		return errors.Join(idle(flags, "archives", tar...), idle(flags, "packages", packages...))
	}
	return errors.Join(idle(flags, "archives", tar...), idle(flags, "trees", tree...))
}

// plan applies the manifest to a container; one that has no value for it is an error.
func (o *manifestApplyOptions) plan(ctx context.Context, engine *signing.Engine, src signing.Source, index *manifest.Index, ring *ima.Keyring) (*signing.Plan, error) {
	plan, err := engine.Apply(ctx, src, signing.Trust{Ring: ring, Index: index})
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
	ring, err := o.trust.ring(ctx, a)
	if err != nil {
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
		return applyToTar(ctx, a, o, ring, catalog, targets)
	case toTar:
		return usagef("-o is for archives: a manifest of %q goes to packages", kind)
	case kind == manifest.Archive:
		return usagef("a manifest of an archive goes to an archive: -o OUT.tar")
	case kind == manifest.Tree:
		return applyToTree(ctx, a, o, ring, catalog, targets)
	case kind == manifest.Package, kind == manifest.Digests:
		return applyToPackages(ctx, a, o, ring, catalog, targets)
	default:
		return fmt.Errorf("%s: a manifest of %q cannot be applied", file, kind)
	}
}

// applyToPackages gives each package what the manifest states for it by name, or
// for each of its digests.
func applyToPackages(ctx context.Context, a *app, o manifestApplyOptions, ring *ima.Keyring, catalog *manifest.Catalog, paths []string) error {
	o.packages.jobs, o.packages.dryRun = o.engine.jobs, o.dryRun
	c, err := newPackageChange(a, "manifest apply", &o.packages, nil)
	if err != nil {
		return err
	}
	defer c.progress.close()
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
		return engine.Apply(ctx, src, signing.Trust{Ring: ring, Index: index})
	}
	if !o.allowEmpty {
		c.empty = errNothingToApply
	}
	return c.paths(ctx, paths, &o.packages)
}

// applyToTree attaches the manifest's values to the files of a directory.
func applyToTree(ctx context.Context, a *app, o manifestApplyOptions, ring *ima.Keyring, catalog *manifest.Catalog, dirs []string) error {
	if len(dirs) != 1 {
		return usagef("a manifest of a tree goes to one directory, not to %d", len(dirs))
	}
	return o.applyTo(ctx, a, dirs[0], ring, catalog, "", func(run *operation) operate.Unit {
		run.progress.count(treeCount{paths: dirs, crossMounts: o.crossMounts})
		return inPlace(dirs[0], rootfs.Options{CrossMounts: o.crossMounts, Jobs: o.engine.jobs}, run)
	})
}

// applyToTar attaches the manifest's values to a copy of an archive.
func applyToTar(ctx context.Context, a *app, o manifestApplyOptions, ring *ima.Keyring, catalog *manifest.Catalog, files []string) error {
	headers := catalog.Headers()
	if len(files) != 1 || len(headers) != 1 {
		return usagef("a manifest of one archive or tree goes to one archive: this one has %d, for %d", len(headers), len(files))
	}
	if err := o.output.check(a, o.dryRun, false, "", ""); err != nil {
		return err
	}
	return o.applyTo(ctx, a, files[0], ring, catalog, headers[0].Name, func(run *operation) operate.Unit {
		o.output.jobs = o.engine.jobs
		run.writes(o.output.file)
		return o.output.copyOf(a, &o.input, files[0], run.progress.observer)
	})
}

// applyTo attaches what the manifest states of the container called name.
func (o *manifestApplyOptions) applyTo(ctx context.Context, a *app, target string, ring *ima.Keyring, catalog *manifest.Catalog, name string, unit func(*operation) operate.Unit) error {
	index, err := catalog.Index(name)
	if err != nil {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	engine, err := o.engine.engine(nil, nil, progress.observer)
	if err != nil {
		return err
	}
	run := newOperation(a, "manifest apply", target, progress, nil, func(ctx context.Context, src signing.Source) (*signing.Plan, error) {
		return o.plan(ctx, engine, src, index, ring)
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

// maxManifest bounds a manifest that comes through a pipe: some 10 million entries.
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
