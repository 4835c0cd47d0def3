package report

import (
	"cmp"

	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// PackageChange is the result of changing packages, or the packages of a repository.
type PackageChange struct {
	Head
	DryRun bool `json:"dry_run,omitempty"`
	Counts
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	KeyID   string  `json:"key_id,omitempty"`
	Total   int     `json:"total"`
	Changed int     `json:"changed"`
	Failed  int     `json:"failed"`
	Grows   int64   `json:"grows"`
	Listing
	StaleMetadata []string  `json:"stale_metadata,omitempty"`
	Packages      []Package `json:"packages,omitempty"`

	Verbose bool `json:"-"` // every package is listed
}

// Package is the result for one package, as reported.
type Package struct {
	Path
	Name    string   `json:"name,omitempty"`
	Status  string   `json:"status"` // "changed", "unchanged", "source", "failed"
	Signed  int64    `json:"signed,omitempty"`
	Grows   int64    `json:"grows,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	Defects []Defect `json:"defects,omitempty"`
}

// Defect is something wrong with the file signatures of a package.
type Defect struct {
	Flaw   string `json:"flaw"`
	Detail string `json:"detail"`
}

func defects(list []rpmsign.Defect) []Defect {
	all := make([]Defect, len(list))
	for i, d := range list {
		all[i] = Defect{string(d.Flaw), d.Detail}
	}
	return all
}

// PackageOutcome is the result for one package, as Take gets it.
type PackageOutcome struct {
	Path, Name string
	Skip       string // why a source package is left alone
	Counts     signing.Counts
	Changed    bool // or to be changed, in a dry run
	Grows      int64
	Defects    []rpmsign.Defect // that its file signatures had
	Err        error
}

// Take adds the result for one package.
func (c *PackageChange) Take(r PackageOutcome) {
	c.Total++
	p := Package{Path: PathOf(r.Path), Name: r.Name, Status: "unchanged", Signed: r.Counts.Signed, Grows: r.Grows, Defects: defects(r.Defects)}
	switch {
	case r.Err != nil:
		p.Status, p.Detail = "failed", r.Err.Error()
		c.Failed++
	case r.Skip != "":
		p.Status, p.Reason = "source", r.Skip
	case r.Changed:
		p.Status = "changed"
		c.Changed++
		c.Grows += r.Grows
	}
	if r.Err == nil {
		c.Add(r.Counts)
	}
	if c.Verbose || r.Err != nil || len(r.Defects) > 0 {
		c.Packages = append(c.Packages, p)
	}
}

func (c *PackageChange) text(p *printer) {
	if p.verbose {
		for _, l := range c.Packages {
			if l.Status != "failed" { // the error reports failed packages
				p.entry(l.Status, l.raw, cmp.Or(l.Detail, l.Reason))
			}
		}
	}
	would := ""
	if c.DryRun {
		would = "would be "
	}
	files := parts(part{c.Signed, would + "signed"}, part{c.Cached, cachedOf}, part{c.Stripped, would + "stripped"}, part{c.Unchanged, "unchanged"}, part{c.Skipped, "skipped"})
	files = append(files, c.replaced()...)
	key := ""
	if c.KeyID != "" {
		key = ", key id " + c.KeyID
	}
	p.summary(false, "%s, %d %schanged, %s; files: %s; %.1f s%s\n", PackageCount(c.Total), c.Changed, would, growth(c.Grows), join(files, "none"), c.Seconds, key)
	c.list(p)
}

// Listing is what changed in a repository's list of packages.
type Listing struct {
	Repositories int      `json:"repositories,omitempty"`
	Added        []string `json:"added,omitempty"`
	Removed      []string `json:"removed,omitempty"`
	Left         []string `json:"left,omitempty"`
}

// list names packages that were added to the metadata, and packages that it does not list.
func (l *Listing) list(p *printer) {
	for _, some := range []struct {
		about string
		list  []string
	}{{"added to the metadata", l.Added}, {"no longer in the metadata", l.Removed}, {"left unsigned and unlisted", l.Left}} {
		if len(some.list) > 0 {
			p.summary(false, "%s: %s\n", some.about, names(some.list, p.verbose))
		}
	}
}

// Refresh is the result of regenerating the metadata of repositories.
type Refresh struct {
	Head
	Seconds float64 `json:"seconds"`
	Listing
}

func (r *Refresh) text(p *printer) {
	many := "repositories"
	if r.Repositories == 1 {
		many = "repository"
	}
	p.summary(false, "metadata of %d %s regenerated; %.1f s\n", r.Repositories, many, r.Seconds)
	r.list(p)
}
