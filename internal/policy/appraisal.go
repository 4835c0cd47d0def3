package policy

import (
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/pkg/ima"
)

func (c *compiler) setAppraisal(word Token, key, value string) *refusal {
	switch key {
	case "digest_type":
		if c.set&flagSignature != 0 {
			if r := c.needsWay(word, RuleOrder, digestTypeLast); r != nil {
				return r
			}
		}
		if value != "verity" {
			return refuseNow(word, RuleValue, "digest_type=%s: must be verity, or left out", value)
		}
		c.rule.Verity = true
		c.mark(flagVerity, word)
	case "appraise_type":
		return c.setType(word, value)
	case "appraise_flag":
		return c.setFlag(word, value)
	default:
		return c.setAlgorithms(word, value)
	}
	return nil
}

// setType adds a type to those of the rule. The kernel has a bit for each: a later imasig
// changes nothing.
func (c *compiler) setType(word Token, value string) *refusal {
	since, known := history.values[word.Text]
	if !known {
		return refuseNow(word, RuleValue, "appraise_type=%s: must be imasig, imasig|modsig or sigv3", value)
	}
	r := c.needsRelease(word, RuleNewer, word.Text, since)
	if r == nil {
		r = c.joins(word, AppraiseType(value))
	}
	if r != nil {
		return r
	}
	before := c.rule.AppraiseType
	switch kind := AppraiseType(value); {
	case kind == SigV3 && before.Modsig():
		c.rule.AppraiseType = SigV3OrModsig
	case kind != IMASig || before == AnyValue:
		c.rule.AppraiseType = kind
	}
	if c.rule.AppraiseType == IMASigOrModsig {
		c.mark(flagModsig, word)
	}
	c.mark(flagSignature, word)
	return nil
}

// joins checks a type against the words before it.
func (c *compiler) joins(word Token, kind AppraiseType) *refusal {
	verity := c.set&flagVerity != 0
	if kind == SigV3 {
		if verity {
			return nil
		}
		return c.needsWay(word, RuleOrder, sigV3OfContent)
	}
	if kind == IMASigOrModsig {
		if r := c.needs(word, "CONFIG_IMA_APPRAISE_MODSIG"); r != nil {
			return r
		}
	}
	switch {
	case verity:
		return refuseNow(word, RuleValue, "%s after digest_type=verity: fs-verity signatures need appraise_type=sigv3", word.Text)
	case kind == IMASigOrModsig && c.rule.AppraiseType.V3():
		return refuseNow(word, RuleOrder, "%s after appraise_type=sigv3: the kernel accepts it only before", word.Text)
	}
	return nil
}

func (c *compiler) setFlag(word Token, value string) *refusal {
	if c.target.has(blacklistAlways) {
		c.remark(word, RuleDeprecated, finding.Note, "appraise_flag= has no effect since Linux %s: every appraisal by signature checks the blacklist", history.ways[blacklistAlways])
		return nil
	}
	if r := c.needs(word, "CONFIG_IMA_APPRAISE_MODSIG"); r != nil {
		return r
	}
	if !strings.Contains(value, "blacklist") {
		return refuse(word, RuleValue, "appraise_flag=%s: must be check_blacklist", value)
	}
	c.rule.CheckBlacklist = true
	c.mark(flagBlacklist, word)
	return nil
}

func (c *compiler) setAlgorithms(word Token, value string) *refusal {
	if c.rule.Algorithms != nil {
		return refuse(word, RuleRepeated, "appraise_algos= is given twice: names are separated by commas")
	}
	for _, name := range strings.Split(value, ",") {
		hash, err := ima.ParseHash(name)
		switch {
		case name == "":
			return refuse(word, RuleValue, "appraise_algos=%s: a name is empty", value)
		case err != nil || name != hash.String():
			return refuseNow(word, RuleValue, "appraise_algos=%s: the kernel has no hash algorithm %s", value, strconv.Quote(name))
		}
		r := c.needsRelease(word, RuleNewer, "appraise_algos="+name, history.values["appraise_algos="+name])
		if r == nil {
			r = c.algorithm(word, hash)
		}
		if r != nil {
			return r
		}
		c.rule.Algorithms = append(c.rule.Algorithms, hash)
	}
	c.mark(flagAlgorithms, word)
	return nil
}

// algorithm checks that the kernel's crypto_has_alg finds the hash. SHA-1 is always built in
// with IMA.
func (c *compiler) algorithm(word Token, hash ima.HashID) *refusal {
	symbol := kernel.HashSymbol(hash)
	config := c.target.Config
	switch {
	case symbol == "" && c.target.Version.Before(5, 13):
		c.remark(word, RuleUnread, finding.Warn, "%s was removed from Linux in 2021; an older kernel may have it", hash)
	case symbol == "":
		return refuse(word, RuleValue, "%s: Linux still names %s, but removed it in 2021", word.Text, hash)
	case hash == ima.SHA1:
	case config == nil && hash != ima.SHA256:
		c.remark(word, RuleConfig, finding.Warn, "%s needs %s; without it the kernel refuses the rule", hash, symbol)
	case config == nil:
	case config.Provided(symbol) == "m":
		c.remark(word, RuleConfig, finding.Warn, "%s is a module (%s=m): the kernel refuses the rule unless the module is loaded by then or modprobe can load it", hash, symbol)
	case config.Provided(symbol) == "":
		return refuse(word, RuleConfig, "%s needs %s, but the kernel is built without it", hash, symbol)
	}
	return nil
}
