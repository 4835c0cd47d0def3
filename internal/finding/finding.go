// Package finding is how certificates, policies and what goes into an initramfs are
// judged: a [Finding] for each thing that there is to say.
//
// What is found, and under which rule names, is for the packages that judge; how it is
// shown, as text or JSON, for the program.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding costs.
type Severity string

// The severities.
const (
	Refuse Severity = "refuse" // the kernel refuses it, or everything that depends on it
	Error  Severity = "error"  // the kernel takes it, and it does not do what it is for, or keeps the device from booting
	Warn   Severity = "warn"   // likely not what is wanted, or depends on what was not given
	Note   Severity = "note"   // worth knowing
)

// Finding is something about an input, at a place in it.
type Finding struct {
	Rule     string // stable: a constant of the package that found it
	Severity Severity
	Detail   string

	File  string   // which input, where there are several
	Files []string // all of them, where the finding is about several; File is the first

	Line   int   // from 1; 0 for the input as a whole
	Column int   // in bytes, from 1; 0 for the line as a whole
	Lines  []int // all of them, where [Group] made one finding of several; the others tell of the first

	// Alike is Detail without what the line itself says: findings that have it in common
	// say the same about different lines.
	Alike string
}

// New makes a finding about an input as a whole. Numbers in its text do not tell it from
// others.
func New(rule string, severity Severity, format string, args ...any) Finding {
	return Finding{Rule: rule, Severity: severity, Detail: fmt.Sprintf(format, args...), Alike: Impersonal("", format, args)}
}

// At returns the finding with a place, both from 1.
func (f Finding) At(line, column int) Finding {
	f.Line, f.Column = line, column
	return f
}

// Same reports whether two findings say the same, wherever they were made.
func (f *Finding) Same(o *Finding) bool {
	return f.Rule == o.Rule && f.Severity == o.Severity && f.Detail == o.Detail
}

// Impersonal fills in a sentence for [Finding.Alike]: with N for numbers, and WORD for
// what it quotes of the end of a word.
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

// Sort orders findings by their place, those about the input as a whole last.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
