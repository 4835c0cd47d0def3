package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

type rpmVerifyOptions struct {
	trust    trustFlags
	packages packageFlags

	allowEmpty bool
}

func newRPMVerify(a *app) *cobra.Command {
	var o rpmVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify PATH…",
		Short: "Verify the file signatures in packages",
		Long: `Verify checks that every file of each package (directories: every *.rpm below them,
symbolic links followed) has a signature by a trusted certificate for the digest that the package states, that
rpm will find it, and that the package is whole. Each file, or package, that fails is
named with the reason. --check files also holds the digests against the payload.

Exit code 3 means that something was wrong, or that no package had a file to judge,
1 that something could not be read.`,
		Example: `  imasign-build rpm verify --cert x509_ima.crt RPMS/`,
		Args:    usageArgs(cobra.MinimumNArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRPMVerify(cmd.Context(), a, o, args) },
	}
	o.trust.add(cmd.Flags())
	o.packages.addRead(cmd.Flags())
	addAllowEmpty(cmd.Flags(), &o.allowEmpty)
	return cmd
}

// rpmVerifyReport is the JSON document: the verdicts on files, and the packages
// that are wrong themselves.
type rpmVerifyReport struct {
	*app `json:"-"`

	Command  string           `json:"command"`
	OK       int64            `json:"ok"`
	Unsigned int64            `json:"unsigned"`
	Bad      int64            `json:"bad"`
	Ignored  int64            `json:"ignored"`
	Packages int              `json:"packages"`
	Sources  int              `json:"sources"`
	Broken   int              `json:"broken"` // packages that are wrong themselves
	Entries  []rpmVerifyEntry `json:"entries"`

	allowEmpty bool
	errs       []error
}

type rpmVerifyEntry struct {
	Package string `json:"package"`
	verifyEntry
}

// packageVerdict is what verifying one package found.
type packageVerdict struct {
	unit    rpmsign.Unit
	report  verifyReport
	source  bool
	broken  error // the package is wrong
	err     error // it could not be looked at
	defects []rpmsign.Defect
}

func runRPMVerify(ctx context.Context, a *app, o rpmVerifyOptions, paths []string) error {
	level, err := o.packages.level()
	if err != nil {
		return err
	}
	ring, err := o.trust.ring(ctx, a)
	if err != nil {
		return err
	}
	units, err := o.packages.units(paths)
	if err != nil && !errors.Is(err, errNoPackages) {
		return err
	}
	progress := a.newProgress()
	defer progress.close()
	engine, err := signing.New(signing.Options{Jobs: 1, Observe: progress.observer})
	if err != nil {
		return err
	}
	report := &rpmVerifyReport{app: a, Command: "rpm verify", Packages: len(units), Entries: []rpmVerifyEntry{}, allowEmpty: o.allowEmpty}
	err = rpmsign.Each(ctx, o.packages.parallel(), units, func(ctx context.Context, u rpmsign.Unit) packageVerdict {
		return verifyPackage(ctx, a, engine, ring, level, u)
	}, report.take)
	progress.close()
	if err != nil {
		return err
	}
	return report.finish(paths)
}

func verifyPackage(ctx context.Context, a *app, engine *signing.Engine, ring *ima.Keyring, level rpmsign.Level, u rpmsign.Unit) packageVerdict {
	v := packageVerdict{unit: u, report: verifyReport{app: a}}
	p, err := rpmsign.Open(u.Path, rpmsign.Options{})
	if err != nil {
		return v.fail(err)
	}
	defer p.Close() //nolint:errcheck // opened for reading
	if err := p.Check(ctx, level); err != nil {
		return v.fail(err)
	}
	v.defects = p.Defects()
	if v.source = p.Source(); v.source {
		return v
	}
	v.err = engine.Verify(ctx, p, ring, nil, v.report.take)
	return v
}

// fail tells a package that is not as it should be from one that could not be read.
func (v packageVerdict) fail(err error) packageVerdict {
	for _, wrong := range []error{rpmsign.ErrNotRPM, rpmsign.ErrTruncated, rpmsign.ErrOversized, rpmsign.ErrMalformed, rpmsign.ErrDigest} {
		if errors.Is(err, wrong) {
			v.broken = err
			return v
		}
	}
	v.err = err
	return v
}

func (r *rpmVerifyReport) take(v packageVerdict) error {
	r.OK += v.report.OK
	r.Unsigned += v.report.Unsigned
	r.Bad += v.report.Bad
	r.Ignored += v.report.Ignored
	if v.source {
		r.Sources++
	}
	if v.err != nil {
		r.errs = append(r.errs, v.err)
	}
	broken := v.broken != nil
	if broken {
		r.add(v, verifyEntry{Status: "bad", Reason: "broken package", Detail: v.broken.Error()})
	}
	for _, d := range v.defects {
		if d.Flaw.Harmless() {
			r.note("warning: %s: %s: %s", printable(v.unit.Path), d.Flaw, d.Detail)
			continue
		}
		broken = true
		r.add(v, verifyEntry{Status: "bad", Reason: string(d.Flaw), Detail: quote.Sprintf("%s: %s", d.Flaw, d.Detail)})
	}
	if broken {
		r.Broken++
	}
	for _, e := range v.report.Entries {
		r.add(v, e)
	}
	return nil
}

func (r *rpmVerifyReport) add(v packageVerdict, e verifyEntry) {
	r.Entries = append(r.Entries, rpmVerifyEntry{v.unit.Path, e})
}

func (r *rpmVerifyReport) finish(paths []string) error {
	empty := r.OK+r.Unsigned+r.Bad+int64(r.Broken) == 0 && len(r.errs) == 0
	if empty {
		r.nothing(quote.Sprintf("%s", paths), r.allowEmpty)
	}
	if r.json {
		if err := r.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, e := range r.Entries {
			path := e.Package
			if e.raw != "" {
				path += ": " + e.raw
			}
			printEntry(r.out, e.Status, path, e.Detail)
		}
		quote.Fprintf(r.out, "%s: %s files ok, %s unsigned, %s bad, %s without a digest\n",
			packages(r.Packages), count(r.OK), count(r.Unsigned), count(r.Bad), count(r.Ignored))
	}
	if len(r.errs) > 0 {
		return errors.Join(r.errs...)
	}
	if r.Unsigned+r.Bad > 0 || r.Broken > 0 || empty && !r.allowEmpty {
		return errWrong
	}
	return nil
}
