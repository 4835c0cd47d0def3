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
			return refuse(word, RuleOrder, "digest_type= comes after appraise_type=: the kernel accepts it only before")
		}
		if value != "verity" {
			return refuse(word, RuleValue, "digest_type=%s: must be verity, or left out", value)
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

func (c *compiler) setType(word Token, value string) *refusal {
	kind := AppraiseType(value)
	verity := c.set&flagVerity != 0
	switch kind {
	case SigV3:
		if !verity {
			return refuse(word, RuleOrder, "appraise_type=sigv3 needs digest_type=verity before it")
		}
	case IMASig, IMASigOrModsig:
		if kind == IMASigOrModsig {
			if r := c.needs(word, "CONFIG_IMA_APPRAISE_MODSIG"); r != nil {
				return r
			}
		}
		if verity {
			return refuse(word, RuleValue, "appraise_type=%s with digest_type=verity: fs-verity signatures need appraise_type=sigv3", value)
		}
	default:
		return refuse(word, RuleValue, "appraise_type=%s: must be imasig, imasig|modsig or sigv3", value)
	}
	if kind == IMASigOrModsig {
		c.mark(flagModsig, word)
	}
	if c.rule.AppraiseType != IMASigOrModsig { // a later imasig does not remove modsig
		c.rule.AppraiseType = kind
	}
	c.mark(flagSignature, word)
	return nil
}

// impliedBlacklist reports whether the kernel checks the blacklist for every appraisal by
// signature, and ignores appraise_flag=.
func (c *compiler) impliedBlacklist() bool { return !c.target.Version.Before(6, 6) }

func (c *compiler) setFlag(word Token, value string) *refusal {
	if c.impliedBlacklist() {
		c.remark(word, RuleDeprecated, finding.Note, "appraise_flag= has no effect since Linux 6.6: every appraisal by signature checks the blacklist")
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
			return refuse(word, RuleValue, "appraise_algos=%s: the kernel has no hash algorithm %s", value, strconv.Quote(name))
		case hash >= ima.SHA3_256 && c.target.Version.Before(6, 7):
			return refuse(word, RuleNewer, "appraise_algos=%s: %s needs Linux 6.7", value, name)
		}
		if r := c.algorithm(word, hash); r != nil {
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
