package policy

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

func (c *compiler) setList(word Token, key, value string) *refusal {
	list, f := &c.rule.Data, flagLabel
	if key == "keyrings" {
		list, f = &c.rule.Keyrings, flagKeyrings
		if r := c.needs(word, "CONFIG_IMA_MEASURE_ASYMMETRIC_KEYS"); r != nil {
			return r
		}
	}
	if *list != nil {
		return refuse(word, RuleRepeated, "%s= is given twice: names are separated by |", key)
	}
	names := strings.Split(value, "|")
	if slices.Contains(names, "") {
		return refuse(word, RuleValue, "%s=%s: a name is empty", key, value)
	}
	*list = names
	c.mark(f, word)
	return nil
}

func (c *compiler) setPCR(word Token, value string) *refusal {
	text, minus := strings.CutPrefix(value, "-")
	n, err := number(text, 10)
	if err != nil || minus && strings.HasPrefix(text, "+") || n >= 64 || minus && n > 0 {
		return refuse(word, RuleNumber, "pcr=%s: must be a decimal number from 0 to 63, or to 31 on 32-bit kernels", value)
	}
	if c.set&flagPCR != 0 {
		c.remark(word, RuleIgnored, finding.Warn, "pcr= is given twice: the kernel keeps the last, pcr=%d", n)
	}
	pcr := int(n)
	c.rule.PCR = &pcr
	c.mark(flagPCR, word)
	return nil
}

// templates are the names in builtin_templates of the kernel's ima_template.c, with their
// formats, which the kernel also accepts as names. Nothing writes to it.
var templates = [...]struct{ name, format string }{
	{"ima", "d|n"}, {"ima-ng", "d-ng|n-ng"}, {"ima-sig", "d-ng|n-ng|sig"}, {"ima-ngv2", "d-ngv2|n-ng"}, {"ima-sigv2", "d-ngv2|n-ng|sig"},
	{"ima-buf", "d-ng|n-ng|buf"}, {"ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"},
	{"evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"},
}

func (c *compiler) setTemplate(word Token, value string) *refusal {
	if c.rule.Action == "" {
		return refuse(word, RuleOrder, "template= comes before the action: the kernel accepts it only after measure")
	}
	if c.rule.Action != Measure {
		return refuseNow(word, RuleNotForAction, "template= is for measure, not for %s", c.rule.Action)
	}
	name := ""
	for _, t := range templates {
		if value == t.name || value == t.format {
			name = t.name
		}
	}
	switch {
	case value == "ima-sigv3":
		return refuse(word, RuleValue, "template=ima-sigv3: no kernel has it, although the kernel's documentation names it: use ima-sigv2")
	case name == "":
		return refuseNow(word, RuleValue, "template=%s: the kernel has no such template", value)
	case c.rule.Template != "":
		return refuse(word, RuleRepeated, "template= is given twice")
	}
	c.rule.Template = name
	return c.needsRelease(word, RuleNewer, word.Text, history.values["template="+name])
}
