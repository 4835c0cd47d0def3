// Package finding defines the results of checking certificates, policies and the contents of
// an initramfs: a list of [Finding] values.
//
// The packages that check define the rules. The program shows findings as text or JSON.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity is how serious a finding is.
type Severity string

// The severities.
const (
	Refuse Severity = "refuse" // the kernel refuses the input, or everything that depends on it
	Error  Severity = "error"  // the kernel accepts the input, but it has no effect or keeps the device from booting
	Warn   Severity = "warn"   // probably a mistake, or it depends on information that was not given
	Note   Severity = "note"   // worth knowing
)

// Finding is a result about an input, at a place in it.
type Finding struct {
	Rule     string // stable name: a constant of the package that checks
	Severity Severity
	Detail   string

	File  string   // name of the input, if there are several
	Files []string // all inputs, if the finding is about several; the first is File

	Line   int   // from 1; 0 for the whole input
	Column int   // in bytes, from 1; 0 for the whole line
	Lines  []int // all lines, if [Group] merged several findings; Line, Column and Detail are of the first

	// Alike is Detail without the parts that come from the line itself. Findings with the
	// same Alike say the same about different lines.
	Alike string
}

// New makes a finding about a whole input. Findings that differ only in the numbers of their
// text have the same Alike.
func New(rule string, severity Severity, format string, args ...any) Finding {
	return Finding{Rule: rule, Severity: severity, Detail: fmt.Sprintf(format, args...), Alike: Impersonal("", format, args)}
}

// At returns the finding with a line and column, both from 1.
func (f Finding) At(line, column int) Finding {
	f.Line, f.Column = line, column
	return f
}

// Same reports whether two findings have the same rule, severity and detail.
func (f *Finding) Same(o *Finding) bool {
	return f.Rule == o.Rule && f.Severity == o.Severity && f.Detail == o.Detail
}

// Impersonal formats a text for [Finding.Alike]. It replaces numbers by N, and arguments that
// are the end of word by WORD.
func Impersonal(word, format string, args []any) string {
	masked := slices.Clone(args)
	for i, arg := range args {
		switch v := arg.(type) {
		case int, uint64:
			masked[i] = "N"
		case string:
			if word != "" && v != "" && strings.HasSuffix(word, v) {
				masked[i] = "WORD"
			}
		}
	}
	return fmt.Sprintf(format, masked...)
}

// Wrong reports whether a finding is a refusal or an error.
func Wrong(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Refuse || f.Severity == Error })
}

// Refused reports whether a finding is a refusal.
func Refused(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Refuse })
}

// Sort orders findings by their place. Findings about the whole input come last.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
