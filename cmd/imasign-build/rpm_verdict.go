package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

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
	Failed   int              `json:"failed"` // packages that are not in order, for whatever reason
	Entries  []rpmVerifyEntry `json:"entries"`

	document   any // that has this report in it; nil for the report itself
	allowEmpty bool
	lines      []packageSummary
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
	broken  error // rpm would not read it
	wrong   error // a digest of the package does not hold
	err     error // it could not be looked at
	defects []rpmsign.Defect
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
	v.err = engine.Verify(ctx, p, signing.Trust{Ring: ring}, v.report.take)
	return v
}

// fail tells a package that is wrong or broken from one that could not be looked at.
func (v packageVerdict) fail(err error) packageVerdict {
	switch {
	case errors.Is(err, rpmsign.ErrDigest):
		v.wrong = err
	case errors.Is(err, rpmsign.ErrNotRPM), errors.Is(err, rpmsign.ErrTruncated), errors.Is(err, rpmsign.ErrOversized), errors.Is(err, rpmsign.ErrMalformed):
		v.broken = err
	default:
		v.err = err
	}
	return v
}

// status is the package's own: the worst of what was found.
func (v *packageVerdict) status() string {
	switch {
	case v.err != nil:
		return "failed"
	case v.broken != nil:
		return "broken"
	case v.wrong != nil, v.report.Bad > 0, slices.ContainsFunc(v.defects, func(d rpmsign.Defect) bool { return !d.Flaw.Harmless() }):
		return "bad"
	case v.report.Unsigned > 0:
		return "unsigned"
	case v.source:
		return "source"
	}
	return "ok"
}

// packageSummary is a package's line.
type packageSummary struct{ status, path, detail string }

func (r *rpmVerifyReport) take(v packageVerdict) error {
	r.OK += v.report.OK
	r.Unsigned += v.report.Unsigned
	r.Bad += v.report.Bad
	r.Ignored += v.report.Ignored
	if v.source {
		r.Sources++
	}
	line := packageSummary{v.status(), v.unit.Path, v.detail()}
	if line.status != "ok" && line.status != "source" {
		r.Failed++
	}
	if err := errors.Join(v.err, v.broken); err != nil {
		r.errs = append(r.errs, err)
	}
	r.lines = append(r.lines, line)
	r.takeEntries(v)
	return nil
}

// takeEntries notes what is wrong with the package itself, and with its files.
func (r *rpmVerifyReport) takeEntries(v packageVerdict) {
	itself := len(r.Entries)
	if err := errors.Join(v.broken, v.wrong); err != nil {
		r.add(v, verifyEntry{Status: "bad", Reason: "broken package", Detail: err.Error()})
	}
	for _, d := range v.defects {
		if d.Flaw.Harmless() {
			r.warnOfEach(string(d.Flaw), "%s: %s: %s", v.unit.Path, d.Flaw, d.Detail)
			continue
		}
		r.add(v, verifyEntry{Status: "bad", Reason: string(d.Flaw), Detail: d.Detail})
	}
	if len(r.Entries) > itself {
		r.Broken++
	}
	if v.err != nil {
		r.add(v, verifyEntry{Status: "failed", Detail: v.err.Error()})
	}
	for _, e := range v.report.Entries {
		r.add(v, e)
	}
}

// detail is what a package's line says: what is wrong with the package, or how many of
// its files are how.
func (v *packageVerdict) detail() string {
	if err := errors.Join(v.err, v.broken, v.wrong); err != nil {
		return strings.Join(strings.Fields(err.Error()), " ") // some have lines
	}
	if v.source {
		return "its files carry no signatures"
	}
	parts := []string{count(v.report.OK) + " files ok"}
	if v.report.OK == 1 {
		parts[0] = "1 file ok"
	}
	reasons := map[string]int64{}
	for _, e := range v.report.Entries {
		if e.Status == signing.Bad.String() {
			reasons[e.Reason]++
		}
	}
	if v.report.Unsigned > 0 {
		parts = append(parts, count(v.report.Unsigned)+" unsigned")
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s bad (%s)", count(reasons[reason]), reason))
	}
	for _, d := range v.defects {
		if !d.Flaw.Harmless() {
			parts = append(parts, fmt.Sprintf("%s (%s)", d.Flaw, d.Detail))
		}
	}
	return join(parts, "")
}

func (r *rpmVerifyReport) add(v packageVerdict, e verifyEntry) {
	r.Entries = append(r.Entries, rpmVerifyEntry{v.unit.Path, e})
}

func (r *rpmVerifyReport) finish(paths []string) error {
	empty := r.OK+r.Unsigned+r.Bad+int64(r.Broken) == 0 && len(r.errs) == 0
	if empty {
		r.nothing("verify", strings.Join(paths, ", "), r.allowEmpty)
	}
	if r.json {
		if err := r.printJSON(cmp.Or[any](r.document, r)); err != nil {
			return err
		}
	} else {
		r.print()
	}
	if n := len(r.errs); n > 0 {
		return errors.Join(quote.Heading(fmt.Errorf("%d of %s could not be verified", n, packages(r.Packages))), errors.Join(r.errs...))
	}
	if r.Failed > 0 || empty && !r.allowEmpty {
		return errWrong
	}
	return nil
}

func (r *rpmVerifyReport) print() {
	if r.verbose || r.Packages == 1 {
		for _, e := range r.Entries {
			if e.raw != "" {
				printEntry(r.out, e.Status, e.Package+": "+e.raw, e.Detail)
			}
		}
	}
	number := map[string]int64{}
	for _, l := range r.lines {
		printEntry(r.out, l.status, l.path, l.detail)
		number[l.status]++
	}
	var parts []string
	for _, status := range []string{"ok", "source", "unsigned", "bad", "broken", "failed"} {
		if number[status] > 0 {
			parts = append(parts, count(number[status])+" "+status)
		}
	}
	quote.Fprintf(r.out, "%s: %s files ok, %s unsigned, %s bad, %s without a digest; packages: %s\n",
		packages(r.Packages), count(r.OK), count(r.Unsigned), count(r.Bad), count(r.Ignored), join(parts, "none"))
}
