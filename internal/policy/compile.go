package policy

import (
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// flag is a bit that ima_parse_rule sets in a rule's flags and that ima_validate_rule checks.
type flag uint32

const (
	flagFunc flag = 1 << iota
	flagMask
	flagFSMagic
	flagFSName
	flagFSSubtype
	flagFSUUID
	flagUID
	flagEUID
	flagGID
	flagEGID
	flagFOwner
	flagFGroup
	flagPCR
	flagKeyrings
	flagLabel
	flagSignature // IMA_DIGSIG_REQUIRED
	flagModsig
	flagBlacklist
	flagAlgorithms
	flagVerity
	flagDirectIO
	flagSubjObj // a security module's label; the kernel does not store it in its flags

	flags = 22
)

// compiler turns one line into a rule, word by word, and stops at the word at which
// ima_parse_rule stops.
type compiler struct {
	target Target
	line   int
	rule   Rule
	set    flag
	at     [flags]Token // the word that set each flag
	action Token
	aside  []finding.Finding // findings that do not refuse the line
	unsure bool              // only a newer kernel than the known ones may accept the line
}

// refusal is the reason why the kernel refuses a line.
type refusal struct {
	word   Token
	rule   string
	detail string
	alike  string
	now    bool // a newer kernel than the known ones may accept the line
}

func refuse(word Token, rule, format string, args ...any) *refusal {
	return &refusal{word, rule, fmt.Sprintf(format, args...), finding.Impersonal(word.Text, format, args), false}
}

// refuseNow refuses what releases to come may accept: words, values and combinations that the
// kernel does not have yet.
func refuseNow(word Token, rule, format string, args ...any) *refusal {
	r := refuse(word, rule, format, args...)
	r.now = true
	return r
}

// compile returns the rule of a line, and the findings about the line. The rule is nil if the
// kernel refuses the line, or if only a newer kernel than the known ones may accept it.
func (t Target) compile(line *Line) (*Rule, []finding.Finding) {
	words := line.Words
	comment := slices.IndexFunc(words, func(w Token) bool { return strings.HasPrefix(w.Text, "#") })
	if comment > 0 && t.has(trailingComment) {
		words = words[:comment]
	}
	c, r := t.try(line.Number, words)
	if meant, carriage := withoutCarriageReturn(words); carriage {
		r = c.carriageReturn(r, words, meant)
	}
	if r == nil && len(words) < len(line.Words) {
		r = c.needsWay(line.Words[comment], RuleNewer, trailingComment)
	}
	if r != nil {
		return nil, []finding.Finding{{Rule: r.rule, Severity: finding.Refuse, Line: line.Number, Column: r.word.Column, Detail: r.detail, Alike: r.alike}}
	}
	if c.unsure {
		return nil, c.aside
	}
	return &c.rule, c.aside
}

func (t Target) try(line int, words []Token) (*compiler, *refusal) {
	c := &compiler{target: t, line: line, rule: Rule{Line: line}}
	r := c.words(words)
	if r == nil && !c.unsure {
		if r = c.validate(words[0]); c.laterAccepts(r) {
			r = nil
		}
	}
	return c, r
}

func (c *compiler) words(words []Token) *refusal {
	for _, word := range words {
		if strings.HasPrefix(word.Text, "#") {
			return c.needsWay(word, RuleNewer, trailingComment)
		}
		if r := c.word(word); r != nil && !c.laterAccepts(r) {
			return r
		}
	}
	return nil
}

func (c *compiler) mark(f flag, word Token) {
	c.set |= f
	c.at[bits.TrailingZeros32(uint32(f))] = word
}

func (c *compiler) remark(word Token, rule string, severity finding.Severity, format string, args ...any) {
	f := newFinding(rule, severity, c.line, word.Column, format, args...)
	f.Alike = finding.Impersonal(word.Text, format, args)
	c.aside = append(c.aside, f)
}

// word processes one word, as match_token finds it in policy_tokens.
func (c *compiler) word(word Token) *refusal {
	name, value := lookup(word.Text)
	if name == nil {
		return unknown(word)
	}
	if r := c.needsRelease(word, RuleNewer, strings.TrimSuffix(name.text, "="), name.since); r != nil {
		return r
	}
	if !name.value && name.text != "permit_directio" {
		return c.setAction(word)
	}
	switch key := strings.TrimRight(name.text, "=<>"); key {
	case "func":
		return c.setFunc(word, value)
	case "mask":
		return c.setMask(word, value)
	case "fsmagic", "fsname", "fs_subtype", "fsuuid":
		return c.setFileSystem(word, key, value)
	case "uid", "euid", "gid", "egid", "fowner", "fgroup":
		return c.setID(word, key, name.text[len(key)], value)
	case "keyrings", "label":
		return c.setList(word, key, value)
	case "pcr":
		return c.setPCR(word, value)
	case "template":
		return c.setTemplate(word, value)
	case "digest_type", "appraise_type", "appraise_flag", "appraise_algos":
		return c.setAppraisal(word, key, value)
	case "permit_directio":
		c.rule.DirectIO = true
		c.mark(flagDirectIO, word)
		return nil
	default:
		return c.setSecurityLabel(word, Label(key), value)
	}
}

// unknown returns the most helpful refusal of an unknown word.
func unknown(word Token) *refusal {
	text := word.Text
	if strings.HasPrefix(text, "/") {
		return refuse(word, RuleWord, "%q: a path is not a rule: write it to the policy file of securityfs", text)
	}
	key := strings.TrimRight(text, "=<>")
	for _, w := range history.words {
		name := strings.TrimRight(w.text, "=<>")
		switch {
		case w.value && key == name:
			return refuse(word, RuleWord, "%q: the value is missing; there may be no space before or after the operator", text)
		case strings.EqualFold(name, leading(text)) && name != leading(text):
			return refuse(word, RuleWord, "%q: write %s, in lower case", text, name)
		case w.value && name == leading(text):
			return refuse(word, RuleWord, "%q: %s does not support this operator", text, name)
		}
	}
	const what = "%q: not an action, condition or option"
	if !wordToCome.MatchString(text) {
		return refuse(word, RuleWord, what, text)
	}
	return refuseNow(word, RuleWord, what, text)
}

// wordToCome matches what a word of a later release may look like.
var wordToCome = regexp.MustCompile(`^[a-z][a-z0-9_]*([=<>][^\r]+)?$`)

// leading returns a word's name, up to its operator.
func leading(text string) string {
	if i := strings.IndexAny(text, "=<>!"); i >= 0 {
		return text[:i]
	}
	return text
}

func (c *compiler) setAction(word Token) *refusal {
	if c.rule.Action != "" {
		return refuse(word, RuleRepeated, "a second action: write another rule for %s", word.Text)
	}
	c.rule.Action, c.action = Action(word.Text), word
	return nil
}

func (c *compiler) setFunc(word Token, value string) *refusal {
	if c.set&flagFunc != 0 {
		return refuse(word, RuleRepeated, "func= is given twice: write a rule for each func")
	}
	for _, f := range funcWords {
		if f.text != value {
			continue
		}
		if r := c.needsRelease(word, RuleNewer, word.Text, history.values[word.Text]); r != nil {
			return r
		}
		if f.hook == KeyCheck {
			if r := c.needs(word, "CONFIG_IMA_MEASURE_ASYMMETRIC_KEYS"); r != nil {
				return r
			}
		}
		c.rule.Func = f.hook
		c.mark(flagFunc, word)
		return nil
	}
	for _, f := range funcWords {
		if strings.EqualFold(f.text, value) {
			return refuse(word, RuleValue, "func=%s: there is no such func; it is written %s", value, f.text)
		}
	}
	return refuseNow(word, RuleValue, "func=%s: there is no such func", value)
}

func (c *compiler) setMask(word Token, value string) *refusal {
	if c.set&flagMask != 0 {
		return refuse(word, RuleRepeated, "mask= is given twice: write a rule for each mask, or ^ before one")
	}
	name, anyOf := strings.CutPrefix(value, "^")
	switch m := Mask(name); m {
	case MayExec, MayWrite, MayRead, MayAppend:
		if anyOf {
			if r := c.needsWay(word, RuleNewer, anyOfMask); r != nil {
				return r
			}
		}
		c.rule.Mask, c.rule.AnyOf = m, anyOf
		c.mark(flagMask, word)
		return nil
	}
	return refuseNow(word, RuleValue, "mask=%s: must be MAY_EXEC, MAY_WRITE, MAY_READ or MAY_APPEND, with or without ^ before it", value)
}

// needs checks a symbol of the configuration. Without it, the kernel refuses the rule.
func (c *compiler) needs(word Token, symbol string) *refusal {
	switch {
	case c.target.Config == nil:
		c.remark(word, RuleConfig, finding.Warn, "%s needs %s; without it the kernel refuses the rule", word.Text, symbol)
	case !c.target.Config.Builtin(symbol):
		return refuse(word, RuleConfig, "%s needs %s, but the kernel is built without it", word.Text, symbol)
	}
	return nil
}
