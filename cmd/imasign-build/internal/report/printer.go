package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
)

// printer writes text.
type printer struct {
	w       io.Writer
	verbose bool
	quiet   bool
	err     error // of reading the document, not of w
}

// printf quotes its arguments like package quote.
func (p *printer) printf(format string, args ...any) {
	_, _ = quote.Fprintf(p.w, format, args...) // w remembers the error
}

// summary is printf for text that a quiet run prints only if something is wrong.
func (p *printer) summary(wrong bool, format string, args ...any) {
	if wrong || !p.quiet {
		p.printf(format, args...)
	}
}

// entry writes a line about one file or package.
func (p *printer) entry(status, path, reason string) {
	if reason != "" {
		reason = ": " + reason
	}
	p.printf("%-9s %s%s\n", status, quote.Name(path), reason)
}

// Count writes a number with thousands separated.
func Count[N ~int | ~int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// PackageCount writes a number of packages.
func PackageCount(n int) string {
	if n == 1 {
		return "1 package"
	}
	return Count(n) + " packages"
}

// Size writes a number of bytes as a person reads it.
func Size(n int64) string { return inUnitOf(n, n, "") }

// SizeOf writes a part of a number of bytes, and that number, in the same unit.
func SizeOf(part, n int64) string { return inUnitOf(part, n, "of "+Size(n)) }

// inUnitOf writes a number of bytes in the unit that fits n. What follows the number is
// the unit, or rest unless that is empty.
func inUnitOf(part, n int64, rest string) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 1000 {
		return fmt.Sprintf("%d %s", part, cmp.Or(rest, "bytes"))
	}
	scale := 1000.0
	for len(units) > 1 && float64(n)/scale >= 1000 {
		scale, units = scale*1000, units[1:]
	}
	return fmt.Sprintf("%.1f %s", float64(part)/scale, cmp.Or(rest, units[0]))
}

// growth says how much larger something became, or smaller.
func growth(n int64) string {
	switch {
	case n == 0:
		return "as large as before"
	case n < 0:
		return Size(-n) + " smaller"
	}
	return Size(n) + " larger"
}

func join(parts []string, otherwise string) string {
	if len(parts) == 0 {
		return otherwise
	}
	return strings.Join(parts, ", ")
}

func inBrackets(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// part is one number of a summary, left out where it is zero.
type part struct {
	n    int64
	word string
}

func parts(list ...part) (texts []string) {
	for _, p := range list {
		if p.n > 0 {
			texts = append(texts, Count(p.n)+" "+p.word)
		}
	}
	return texts
}

// names lists quoted names, and counts the rest of a long list unless all is set.
func names(list []string, all bool) string {
	const most = 10
	var shown []string
	for _, name := range list {
		if len(shown) == most && !all {
			return fmt.Sprintf("%s and %s more", strings.Join(shown, ", "), Count(len(list)-most))
		}
		shown = append(shown, quote.Name(name))
	}
	return strings.Join(shown, ", ")
}
