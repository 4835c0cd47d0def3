package report

import (
	"slices"

	"github.com/imasign/imasign-build/internal/quote"
)

// Policy is a policy that was written.
type Policy struct {
	Head
	Path           // of the policy
	Profile string `json:"profile"`
	Rules   int    `json:"rule_count"`
	Signed  int64  `json:"signed"`
	KeyID   string `json:"key_id,omitempty"`
}

func (r *Policy) text(p *printer) {
	key := ""
	if r.Signed > 0 {
		key = ", signed with key id " + r.KeyID
	}
	p.summary(false, "%s: profile %s, %d rules%s\n", r.name(), r.Profile, r.Rules, key)
}

// Simulation is the effect of a policy on the files of a tree. If the kernel refuses the
// policy itself, Findings say why, and nothing else is reported. Otherwise they are about
// the certificates.
type Simulation struct {
	Head
	Path                     // of the policy
	Kernel   string          `json:"kernel"`
	Loads    bool            `json:"loads"`
	Rules    []SimulatedRule `json:"rules"`
	Refused  []SimulatedFile `json:"refused"`
	Unknown  []string        `json:"unknown"`
	Findings []Finding       `json:"findings"`

	Limits []string `json:"-"` // of every simulation; in JSON at the end of Unknown
}

// SimulatedRule is a rule, with the numbers of files that it passes and refuses.
type SimulatedRule struct {
	Line     int    `json:"line"`
	Text     string `json:"text"`
	Passed   int    `json:"passed"`
	Refusals int    `json:"refusals"`
	Possible int    `json:"possible"`
}

// SimulatedFile is a file that the kernel would refuse, or might refuse.
type SimulatedFile struct {
	Path
	Func     string `json:"func"`
	Line     int    `json:"line"`
	Reason   string `json:"reason"`
	Cause    string `json:"cause,omitempty"`
	Certain  bool   `json:"certain"`
	Boot     bool   `json:"boot,omitempty"`
	NeededBy string `json:"needed_by,omitempty"` // as it can be printed
}

func (s *Simulation) prepare(bool) error {
	if s.Rules == nil {
		s.Rules = []SimulatedRule{}
	}
	if s.Refused == nil {
		s.Refused = []SimulatedFile{}
	}
	s.Unknown = append([]string{}, slices.Concat(s.Unknown, s.Limits)...)
	if s.Findings == nil {
		s.Findings = []Finding{}
	}
	return nil
}

func (s *Simulation) text(p *printer) {
	if !s.Loads {
		p.findings(s.raw, s.Findings)
		p.printf("%s: kernel %s refuses the policy, so it would appraise no file\n", s.name(), s.Kernel)
		return
	}
	for _, f := range s.Refused {
		f.text(p)
	}
	for _, f := range s.Findings {
		p.printf("%-9s %s: %s\n", f.Severity, f.Rule, quote.Name(f.Detail))
	}
	for _, r := range s.Rules {
		p.summary(false, "%s:%d: %s: %s pass, %s refused, %s depend\n", s.name(), r.Line, quote.Name(r.Text), Count(r.Passed), Count(r.Refusals), Count(r.Possible))
	}
	for _, text := range s.Unknown {
		p.printf("not judged: %s\n", text)
	}
	for _, text := range s.Limits {
		p.summary(false, "not judged: %s\n", text)
	}
}

func (f *SimulatedFile) text(p *printer) {
	status, more := "refused", ""
	if !f.Certain {
		status = "depends"
	}
	if f.NeededBy != "" {
		more = "; " + f.NeededBy + " needs it"
	}
	if f.Boot {
		more += "; the device does not boot without it"
	}
	p.printf("%-9s %s: %s, line %d: %s%s\n", status, f.name(), f.Func, f.Line, f.Reason, more)
}

// Bundle is the result of making a bundle for an initramfs.
type Bundle struct {
	Head
	Path               // of the output
	Hook     string    `json:"hook"`
	Kernel   string    `json:"kernel"`
	Files    []Bundled `json:"files"`
	Findings []Finding `json:"findings"`
}

// Bundled is a file of a bundle.
type Bundled struct {
	Path
	Mode string `json:"mode"`
	Size int64  `json:"size"`

	Dir bool `json:"-"`
}

func (b *Bundle) prepare(bool) error {
	if b.Findings == nil {
		b.Findings = []Finding{}
	}
	return nil
}

func (b *Bundle) text(p *printer) {
	for _, f := range b.Findings {
		if f.Severity == "note" && !p.verbose {
			continue
		}
		place := f.files()
		if f.Line > 0 {
			place += ":" + Count(f.Line)
		}
		p.printf("%-6s %s: %s: %s%s\n", f.Severity, place, f.Rule, quote.Name(f.Detail), inBrackets(f.Also))
	}
	for _, f := range b.Files {
		if !f.Dir {
			p.summary(false, "%s %7d %s\n", f.Mode, f.Size, f.raw)
		}
	}
	p.summary(false, "%s: %s, for kernel %s\n", b.name(), b.Hook, b.Kernel)
}
