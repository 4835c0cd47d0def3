package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

type rpmDigestsOptions struct {
	packages packageFlags
	output   string
}

func newRPMDigests(a *app) *cobra.Command {
	var o rpmDigestsOptions
	cmd := &cobra.Command{
		Use:   "digests PATH…",
		Short: "List the distinct file digests of packages, to sign them elsewhere",
		Long: `Digests writes a manifest of every distinct file digest in the packages. PATH is a
package, or a directory whose *.rpm files at any depth are read.

A machine that has the key, but not the packages, signs the manifest with "manifest
sign". Then "manifest apply" adds the signatures to the packages.`,
		Example: `  imasign-build rpm digests -o digests.jsonl RPMS/
  imasign-build manifest sign --key K --cert C digests.jsonl -o signed.jsonl
  imasign-build manifest apply --cert C signed.jsonl RPMS/`,
		RunE: func(cmd *cobra.Command, args []string) error { return runRPMDigests(cmd.Context(), a, o, args) },
	}
	o.packages.addRead(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "-", "write the manifest to `OUT`, or to standard output with -")
	once(cmd.Flags(), "output")
	return cmd
}

// digestSet collects distinct digests.
type digestSet struct {
	app    *app
	lines  map[string]manifest.Line
	errs   []error
	result report.Digests
}

// packageDigests are the digests that one package adds to a digestSet.
type packageDigests struct {
	path    string
	digests []signing.Digest // one for each file
	doubles []string         // names of files that are refused in version 2 ([signing.ErrDoubleUse])
	defects []rpmsign.Defect
	err     error
}

func runRPMDigests(ctx context.Context, a *app, o rpmDigestsOptions, paths []string) error {
	level, err := o.packages.level()
	if err != nil {
		return err
	}
	units, err := o.packages.units(paths)
	if err != nil {
		return err
	}
	set := &digestSet{app: a, lines: map[string]manifest.Line{}, result: report.Digests{Head: report.Head{Command: "rpm digests"}}}
	progress := a.newProgress()
	defer progress.close()
	done := progress.packages("read", units)
	err = eachPackage(ctx, o.packages.jobs, units, func(ctx context.Context, u rpmfiles.Unit) packageDigests {
		d := packageDigests{path: u.Path}
		d.err = d.read(ctx, level)
		return d
	}, func(p packageDigests) error {
		done(p.path)
		return set.take(p)
	})
	progress.close()
	if err == nil && len(set.errs) > 0 {
		return a.print(&set.result, errors.Join(fmt.Errorf("%d of %s failed; nothing was written", len(set.errs), report.PackageCount(len(units))), errors.Join(set.errs...)))
	}
	if err != nil {
		return err
	}
	return set.list(o.output)
}

// list writes the digests to a file, or to standard output for "-".
func (s *digestSet) list(output string) error {
	date, err := s.app.date()
	if err != nil {
		return err
	}
	s.result.Path, s.result.Distinct = report.PathOf(output), len(s.lines)
	err = s.app.writeOutput(output, func(w io.Writer) error {
		return s.write(w, manifest.Header{Tool: tool(), Container: manifest.Digests, Date: date, Entries: int64(len(s.lines))})
	})
	if err != nil || output == "-" {
		return err
	}
	return s.app.print(&s.result, nil)
}

// read reads the file digests of a package. It reads none from a source package.
func (d *packageDigests) read(ctx context.Context, level rpmsign.Level) error {
	p, err := rpmsign.Open(d.path, rpmsign.Options{})
	if err != nil {
		return err
	}
	defer p.Close() //nolint:errcheck // opened for reading
	if err := p.Check(ctx, level); err != nil {
		return err
	}
	if p.Source() {
		return nil
	}
	d.defects = p.Defects()
	for e, err := range p.Entries(ctx) {
		if err != nil {
			return err
		}
		d.digests = append(d.digests, e.Digests...)
		if e.DoubleUse == nil {
			continue
		}
		twice, err := e.DoubleUse()
		if err != nil {
			return err
		}
		if twice {
			d.doubles = append(d.doubles, e.Path)
		}
	}
	return p.Signable(ctx, 0, nil)
}

func (s *digestSet) take(p packageDigests) error {
	s.result.Take(p.path, s.app.advise(p.err))
	if p.err != nil {
		s.errs = append(s.errs, p.err)
		return nil //nolint:nilerr // all errors are reported at the end
	}
	for _, defect := range p.defects {
		if defect.Flaw == rpmsign.FlawMain || defect.Flaw == rpmsign.FlawBoth { // no signature can be added
			s.app.warnOfEach(string(defect.Flaw), "%s: %s: %s", quote.Name(p.path), defect.Flaw, defect.Detail)
		}
	}
	for _, name := range p.doubles { // the machine with the key cannot look at contents
		s.app.warnOfEach("a content that only version 3 may sign", "%s: %s: %s: give the list only to a key for version 3", quote.Name(p.path), quote.Name(name), signing.ErrDoubleUse)
	}
	for _, d := range p.digests {
		path := manifest.DigestPath(d.Hash, d.Sum)
		s.lines[path] = manifest.Line{Path: path, Kind: "file", Hash: d.Hash, Digest: d.Sum}
	}
	return nil
}

func (s *digestSet) write(w io.Writer, header manifest.Header) error {
	header.Hash = s.hash()
	out := manifest.NewWriter(w)
	if err := out.Header(header); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(s.lines)) {
		if err := out.Line(s.lines[path]); err != nil {
			return err
		}
	}
	return out.Flush()
}

// hash returns the algorithm of all digests, zero if they differ.
func (s *digestSet) hash() (h ima.HashID) {
	for _, l := range s.lines {
		if h != 0 && h != l.Hash {
			return 0
		}
		h = l.Hash
	}
	return h
}
