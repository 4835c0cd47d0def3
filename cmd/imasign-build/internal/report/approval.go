package report

import "path/filepath"

// Approval is what somebody approves, or has approved.
type Approval struct {
	Head
	Manifest    string       `json:"manifest_sha256"`
	Key         string       `json:"key_sha256"`
	Origin      string       `json:"origin"`
	Form        string       `json:"form"`
	Hash        string       `json:"hash"`
	NotAfter    string       `json:"not_after"`
	Covered     int64        `json:"covered"`
	Previous    string       `json:"previous,omitempty"`
	Detail      string       `json:"detail,omitempty"` // why the rest was not compared
	Differences []Difference `json:"differences"`
	Files       []string     `json:"files"` // none before it is approved

	// Shown says that all but the files has been printed.
	Shown bool `json:"-"`
}

func (a *Approval) prepare(bool) error {
	if a.Differences == nil {
		a.Differences = []Difference{}
	}
	return nil
}

// mostDifferences is how many differences are printed, unless all are wanted.
const mostDifferences = 100

func (a *Approval) text(p *printer) {
	if !a.Shown {
		a.proposal(p)
	}
	for _, file := range a.Files {
		p.summary(false, "wrote %s\n", file)
	}
}

func (a *Approval) proposal(p *printer) {
	shown := a.Differences
	if len(shown) > mostDifferences && !p.verbose {
		shown = shown[:mostDifferences]
	}
	if !p.quiet {
		(&Diff{Differences: shown}).text(p)
	}
	if more := len(a.Differences) - len(shown); more > 0 {
		p.summary(false, "… and %s more; --verbose shows them\n", Count(more))
	}
	for _, line := range [][2]string{
		{"manifest", a.Manifest}, {"compared", a.compared()}, {"key", a.Key}, {"origin", a.Origin}, {"form", a.Form + ", " + a.Hash},
		{"covers", fileCount(a.Covered)}, {"until", a.NotAfter},
	} {
		p.summary(false, "%-9s %s\n", line[0], line[1])
	}
}

// compared says what the manifest was compared with.
func (a *Approval) compared() string {
	name := filepath.Base(a.Previous)
	switch {
	case a.Previous == "":
		return "no earlier manifest to compare with"
	case a.Detail != "":
		return "not with all of " + name + ": " + a.Detail
	case len(a.Differences) == 1:
		return "1 difference to " + name
	}
	return Count(len(a.Differences)) + " differences to " + name
}

func fileCount(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return Count(n) + " files"
}
