package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
)

// Finding says what is wrong, or worth knowing, about a certificate, a policy or a
// repository.
type Finding struct {
	Path              // of the file, if several are checked
	Paths    []string `json:"paths,omitempty"`
	Severity string   `json:"severity"` // "refuse", "error", "warn", "note"
	Rule     string   `json:"rule"`
	Line     int      `json:"line,omitempty"`
	Lines    []int    `json:"lines,omitempty"`
	Column   int      `json:"column,omitempty"`
	Detail   string   `json:"detail"`
	// Certificates are the numbers, from 1, of those in a file of several.
	Certificates []int `json:"certificates,omitempty"`

	Also string `json:"-"` // further lines, for people
}

// place returns the position of a finding in the form that editors understand.
func (f *Finding) place(name string) string {
	switch {
	case f.Line == 0:
		return quote.Name(name)
	case f.Column == 0:
		return fmt.Sprintf("%s:%d", quote.Name(name), f.Line)
	}
	return fmt.Sprintf("%s:%d:%d", quote.Name(name), f.Line, f.Column)
}

// files names the files that a finding is about.
func (f *Finding) files() string {
	if len(f.Paths) == 0 {
		return f.name()
	}
	quoted := make([]string, len(f.Paths))
	for i, name := range f.Paths {
		quoted[i] = quote.Name(name)
	}
	return strings.Join(quoted, ", ")
}

// which names a finding's certificates, or the first few of many.
func (f *Finding) which() string {
	const most = 12
	var numbers []string
	for _, n := range f.Certificates[:min(most, len(f.Certificates))] {
		numbers = append(numbers, strconv.Itoa(n))
	}
	text := strings.Join(numbers, ", ")
	switch more := len(f.Certificates) - most; {
	case text == "":
		return ""
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(f.Certificates) == 1 {
		return "certificate " + text
	}
	return "certificates " + text
}

func severe(findings []Finding, severity string) (n int) {
	for _, f := range findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

// KeyCheck is how a kernel would judge certificates.
type KeyCheck struct {
	Head
	Kernel   string    `json:"kernel"`
	Keyring  string    `json:"keyring"`
	Findings []Finding `json:"findings"`

	Of string `json:"-"` // the file
}

// Add adds a finding about a certificate. number is 0 if the file has only one. Equal
// findings about several certificates are merged.
func (k *KeyCheck) Add(number int, f Finding) {
	alike := func(o Finding) bool {
		return o.Severity == f.Severity && o.Rule == f.Rule && o.Detail == f.Detail && o.Certificates != nil
	}
	if i := slices.IndexFunc(k.Findings, alike); number > 0 && i >= 0 {
		k.Findings[i].Certificates = append(k.Findings[i].Certificates, number)
		return
	}
	if number > 0 {
		f.Certificates = []int{number}
	}
	k.Findings = append(k.Findings, f)
}

// Refused reports whether the kernel would refuse a certificate.
func (k *KeyCheck) Refused() bool { return severe(k.Findings, "refuse") > 0 }

func (k *KeyCheck) prepare(bool) error {
	if k.Findings == nil {
		k.Findings = []Finding{}
	}
	return nil
}

func (k *KeyCheck) text(p *printer) {
	for _, f := range k.Findings {
		p.summary(f.Severity != "note", "%-6s %s: %s%s\n", f.Severity, f.Rule, f.Detail, inBrackets(f.which()))
	}
	verdict := "takes"
	if k.Refused() {
		verdict = "refuses"
	}
	p.summary(k.Refused(), "%s: kernel %s %s it in %s\n", k.Of, k.Kernel, verdict, k.Keyring)
}

// PolicyCheck is how a kernel would judge a policy.
type PolicyCheck struct {
	Head
	Path               // of the policy
	Kernel   string    `json:"kernel"`
	Rules    int       `json:"rule_count"`
	Unknown  int       `json:"-"` // lines that the kernel may take or refuse, if it loads the policy
	Loads    bool      `json:"loads"`
	Findings []Finding `json:"findings"`
}

func (c *PolicyCheck) prepare(bool) error {
	if c.Findings == nil {
		c.Findings = []Finding{}
	}
	return nil
}

func (c *PolicyCheck) text(p *printer) {
	verdict := fmt.Sprintf("takes its %d rules", c.Rules)
	if c.Unknown > 0 {
		verdict = fmt.Sprintf("takes %d of its %d rules, and may refuse the others", c.Rules, c.Rules+c.Unknown)
	}
	if !c.Loads {
		verdict = fmt.Sprintf("refuses it (%d refusals)", severe(c.Findings, "refuse"))
	}
	p.findings(c.raw, c.Findings)
	p.summary(!c.Loads || severe(c.Findings, "error") > 0, "%s: kernel %s %s; errors: %d, warnings: %d, notes: %d\n", c.name(), c.Kernel, verdict,
		severe(c.Findings, "error"), severe(c.Findings, "warn"), severe(c.Findings, "note"))
}

// findings writes findings about one file.
func (p *printer) findings(file string, list []Finding) {
	for _, f := range list {
		p.summary(f.Severity != "note", "%s: %s %s: %s%s\n", f.place(file), f.Severity, f.Rule, quote.Name(f.Detail), inBrackets(f.Also))
	}
}
