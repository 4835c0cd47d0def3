package policy

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// withoutCarriageReturn returns the words of a line that ends in CR LF without the carriage
// return. ok is false for any other line.
func withoutCarriageReturn(words []Token) (meant []Token, ok bool) {
	last := len(words) - 1
	text, ok := strings.CutSuffix(words[last].Text, "\r")
	if !ok {
		return words, false
	}
	meant = slices.Clone(words)
	meant[last].Text = text
	if text == "" {
		meant = meant[:last]
	}
	return meant, true
}

// carriageReturn checks a line that ends in CR LF. If the kernel would accept the line
// without the carriage return, that is the reason for the refusal. If it accepts the line as
// it is, there is a finding about the carriage return. meant are the words without it.
func (c *compiler) carriageReturn(r *refusal, words, meant []Token) *refusal {
	const what = "the line ends in CR LF, and the carriage return is part of its last word: save the file with Unix line ends"
	last := words[len(words)-1]
	if r == nil {
		if key := leading(last.Text); key != "fsuuid" { // the kernel ignores what follows a UUID
			c.remark(last, RuleNewline, finding.Error, "%s; the kernel accepts the rule, but it matches nothing", what)
		}
		return nil
	}
	if len(meant) > 0 {
		if _, other := c.target.try(c.line, meant); other != nil {
			return r
		}
	}
	return refuse(last, RuleNewline, "%s", what)
}
