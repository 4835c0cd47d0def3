package policy

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// withoutCarriageReturn returns what a line that ends in CR LF was meant to be; ok is
// false for any other.
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

// carriageReturn judges a line that ends in CR LF: that is why it is refused if it
// would be taken otherwise, and what is wrong with it if it is taken.
func (c *compiler) carriageReturn(r *refusal, words, meant []Token) *refusal {
	const what = "the line ends in CR LF, and the carriage return is part of its last word: save the file with Unix line ends"
	last := words[len(words)-1]
	if r == nil {
		if key := leading(last.Text); key != "fsuuid" { // of which the kernel does not read the rest
			c.remark(last, RuleNewline, finding.Error, "%s; the kernel takes it, and it matches nothing", what)
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
