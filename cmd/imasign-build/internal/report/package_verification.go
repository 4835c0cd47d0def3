package report

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// PackageVerification is the result of verifying packages: the verdicts on their files,
// and what is wrong with the packages themselves.
type PackageVerification struct {
	Head
	Verdicts
	Total   int              `json:"total"`
	Sources int              `json:"sources"`
	Broken  int              `json:"broken"`
	Failed  int              `json:"failed"`
	Entries []PackageVerdict `json:"entries"`

	summaries []packageSummary
}

// PackageVerdict is the verdict on a file of a package, or, without a path, on the
// package itself.
type PackageVerdict struct {
	Package string `json:"package"`
	Verdict
}

// PackageFindings is the result of verifying one package.
type PackageFindings struct {
	Path    string
	Files   Verification
	Source  bool             // a source package, which has no signatures
	Broken  error            // rpm would not read it
	Wrong   error            // a digest of the package does not match
	Err     error            // it could not be verified
	Defects []rpmsign.Defect // of its file signatures
}

// packageSummary is a package's line.
type packageSummary struct{ status, path, detail string }

// status returns the worst status of the package and its files.
func (f *PackageFindings) status() string {
	switch {
	case f.Err != nil:
		return "failed"
	case f.Broken != nil:
		return "broken"
	case f.Wrong != nil, f.Files.Bad > 0, slices.ContainsFunc(f.Defects, func(d rpmsign.Defect) bool { return !d.Flaw.Harmless() }):
		return "bad"
	case f.Files.Unsigned > 0:
		return "unsigned"
	case f.Source:
		return "source"
	}
	return "ok"
}

// Take adds the findings about one package.
func (r *PackageVerification) Take(f PackageFindings) {
	r.sum(f.Files.Verdicts)
	if f.Source {
		r.Sources++
	}
	line := packageSummary{f.status(), f.Path, f.detail()}
	if line.status != "ok" && line.status != "source" {
		r.Failed++
	}
	r.summaries = append(r.summaries, line)
	r.takeEntries(f)
}

// takeEntries notes what is wrong with the package itself, and with its files.
func (r *PackageVerification) takeEntries(f PackageFindings) {
	itself := len(r.Entries)
	if err := errors.Join(f.Broken, f.Wrong); err != nil {
		r.add(f, Verdict{Status: "bad", Reason: "broken package", Detail: err.Error()})
	}
	for _, d := range f.Defects {
		if !d.Flaw.Harmless() {
			r.add(f, Verdict{Status: "bad", Reason: string(d.Flaw), Detail: d.Detail})
		}
	}
	if len(r.Entries) > itself {
		r.Broken++
	}
	if f.Err != nil {
		r.add(f, Verdict{Status: "failed", Detail: f.Err.Error()})
	}
	for _, e := range f.Files.Entries {
		r.add(f, e)
	}
}

func (r *PackageVerification) add(f PackageFindings, v Verdict) {
	r.Entries = append(r.Entries, PackageVerdict{f.Path, v})
}

// detail returns the text of a package's line: what is wrong with the package, or the
// number of its files in each state.
func (f *PackageFindings) detail() string {
	if err := errors.Join(f.Err, f.Broken, f.Wrong); err != nil {
		return strings.Join(strings.Fields(err.Error()), " ") // some errors have several lines
	}
	if f.Source {
		return "its files carry no signatures"
	}
	texts := []string{Count(f.Files.OK) + " files ok"}
	if f.Files.OK == 1 {
		texts[0] = "1 file ok"
	}
	texts = append(texts, parts(part{f.Files.Unsigned, "unsigned"})...)
	reasons := map[string]int64{}
	for _, e := range f.Files.Entries {
		if e.Status == signing.Bad.String() {
			reasons[e.Reason]++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		texts = append(texts, fmt.Sprintf("%s bad (%s)", Count(reasons[reason]), reason))
	}
	for _, d := range f.Defects {
		if !d.Flaw.Harmless() {
			texts = append(texts, fmt.Sprintf("%s (%s)", d.Flaw, d.Detail))
		}
	}
	return join(texts, "")
}

func (r *PackageVerification) prepare(bool) error {
	if r.Entries == nil {
		r.Entries = []PackageVerdict{}
	}
	return nil
}

func (r *PackageVerification) text(p *printer) {
	if p.verbose || r.Total == 1 {
		for _, e := range r.Entries {
			if e.raw != "" {
				p.entry(e.Status, e.Package+": "+e.raw, e.Detail)
			}
		}
	}
	number := map[string]int64{}
	for _, l := range r.summaries {
		if right := l.status == "ok" || l.status == "source"; !right || !p.quiet {
			p.entry(l.status, l.path, l.detail)
		}
		number[l.status]++
	}
	var texts []string
	for _, status := range []string{"ok", "source", "unsigned", "bad", "broken", "failed"} {
		texts = append(texts, parts(part{number[status], status})...)
	}
	p.summary(r.Failed > 0, "%s: %s files ok, %s unsigned, %s bad, %s ignored; packages: %s\n",
		PackageCount(r.Total), Count(r.OK), Count(r.Unsigned), Count(r.Bad), Count(r.Ignored), join(texts, "none"))
}

// RepositoryVerification is the result of verifying repositories and their packages.
type RepositoryVerification struct {
	PackageVerification
	Repositories int       `json:"repositories"`
	Wrong        int       `json:"wrong"`
	Findings     []Finding `json:"findings"`
}

// Find adds a finding about the metadata, or about a difference from the metadata.
func (r *RepositoryVerification) Find(path, rule, detail string) {
	r.Wrong++
	r.Findings = append(r.Findings, Finding{Path: PathOf(path), Severity: "error", Rule: rule, Detail: detail})
}

func (r *RepositoryVerification) prepare(verbose bool) error {
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r.PackageVerification.prepare(verbose)
}

func (r *RepositoryVerification) text(p *printer) {
	for _, f := range r.Findings {
		p.entry(f.Rule, f.raw, f.Detail)
	}
	r.PackageVerification.text(p)
}
