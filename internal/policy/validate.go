package policy

import (
	"math/bits"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// The flags that ima_validate_rule allows for each func.
const (
	flagsOwner   = flagUID | flagGID | flagFOwner | flagFGroup | flagEUID | flagEGID
	flagsFS      = flagFSMagic | flagFSName | flagFSSubtype | flagFSUUID
	flagsFile    = flagFunc | flagMask | flagsFS | flagsOwner | flagPCR | flagSignature | flagDirectIO | flagAlgorithms | flagSubjObj | flagVerity
	flagsImage   = flagsFile&^flagVerity | flagModsig | flagBlacklist
	flagsCmdline = flagFunc | flagsFS | flagsOwner | flagPCR | flagSubjObj
	flagsBuffer  = flagFunc | flagUID | flagGID | flagPCR
	// A security module's label is ignored, but not refused.
	flagsSetxattr = flagFunc | flagAlgorithms | flagSubjObj
)

// allowed returns the flags that the rule's func may have.
func (c *compiler) allowed() flag {
	switch c.rule.Func {
	case ModuleCheck, KexecKernelCheck, KexecInitramfsCheck:
		return flagsImage
	case KexecCmdline:
		return flagsCmdline
	case KeyCheck:
		return flagsBuffer | flagKeyrings
	case CriticalData:
		return flagsBuffer | flagLabel
	case SetxattrCheck:
		return flagsSetxattr
	}
	return flagsFile
}

// validate checks the combination of words, as ima_validate_rule does.
func (c *compiler) validate(first Token) *refusal {
	if c.rule.Action == "" {
		return refuse(first, RuleNoAction, "no action: a rule starts with measure, appraise, audit, hash, or one of them after dont_")
	}
	if c.set&flagPCR != 0 && c.rule.Action != Measure {
		return refuseNow(c.wordOf(flagPCR), RuleNotForAction, "pcr= is for measure, not for %s", c.rule.Action)
	}
	if f := c.set & (flagSignature | flagModsig | flagBlacklist | flagAlgorithms); f != 0 && c.rule.Action != Appraise {
		word := c.wordOf(f)
		return refuseNow(word, RuleNotForAction, "%s is for appraise, not for %s", leading(word.Text), c.rule.Action)
	}
	if r := c.validateAction(); r != nil {
		return r
	}
	if f := c.set &^ c.allowed(); f != 0 {
		word := c.wordOf(f)
		return refuseNow(word, RuleNotForFunc, "%s is not allowed with %s%s", word.Text, c.funcName(), c.instead(f))
	}
	if c.set&flagBlacklist != 0 && c.set&flagModsig == 0 {
		return refuse(c.wordOf(flagBlacklist), RuleMissing, "appraise_flag=check_blacklist needs appraise_type=imasig|modsig before Linux 6.6")
	}
	if c.rule.Action == Appraise && c.set&flagVerity != 0 && c.set&flagSignature == 0 {
		return refuseNow(c.wordOf(flagVerity), RuleMissing, "appraise with digest_type=verity needs appraise_type=sigv3")
	}
	c.ignored()
	return nil
}

// validateAction refuses actions that the func does not support.
func (c *compiler) validateAction() *refusal {
	switch c.rule.Func {
	case KexecCmdline, KeyCheck, CriticalData:
		if c.rule.Action.Class() != Measure {
			return refuseNow(c.action, RuleNotForFunc, "func=%s is for measure and dont_measure, not for %s", c.rule.Func, c.rule.Action)
		}
	case SetxattrCheck:
		if c.rule.Action != Appraise {
			return refuseNow(c.action, RuleNotForFunc, "func=SETXATTR_CHECK is for appraise, not for %s", c.rule.Action)
		}
		if c.set&flagAlgorithms == 0 {
			return refuseNow(c.wordOf(flagFunc), RuleMissing, "func=SETXATTR_CHECK needs appraise_algos=")
		}
	}
	return nil
}

// wordOf returns the first word of the line that set one of the flags.
func (c *compiler) wordOf(f flag) Token {
	var first Token
	for ; f != 0; f &= f - 1 {
		word := c.at[bits.TrailingZeros32(uint32(f))]
		if first.Column == 0 || word.Column < first.Column {
			first = word
		}
	}
	return first
}

func (c *compiler) funcName() string {
	if c.rule.Func == AnyFunc {
		return "a rule without func="
	}
	return "func=" + string(c.rule.Func)
}

// instead says which func a refused condition belongs to.
func (c *compiler) instead(f flag) string {
	switch {
	case f&flagKeyrings != 0:
		return ": keyrings= is for func=KEY_CHECK"
	case f&flagLabel != 0:
		return ": label= is for func=CRITICAL_DATA"
	case f&(flagModsig|flagBlacklist) != 0:
		return ": appended signatures are for MODULE_CHECK, KEXEC_KERNEL_CHECK and KEXEC_INITRAMFS_CHECK"
	case f&flagVerity != 0:
		return ": fs-verity digests are only for files that are opened, mapped or executed"
	}
	return ""
}

// ignored reports words that the kernel accepts, but ignores.
func (c *compiler) ignored() {
	r := &c.rule
	switch {
	case (r.Func == KeyCheck || r.Func == CriticalData) && c.set&flagGID != 0:
		word := c.wordOf(flagGID)
		c.remark(word, RuleIgnored, finding.Warn, "%s: the kernel accepts it with func=%s, but never compares it", word.Text, r.Func)
	case r.Func == SetxattrCheck && c.set&flagSubjObj != 0:
		word := c.wordOf(flagSubjObj)
		c.remark(word, RuleIgnored, finding.Warn, "%s: the kernel accepts it with func=SETXATTR_CHECK, but never compares it: the rule is for every file", word.Text)
	}
	if (r.Action.Class() != Appraise || r.Action == DontAppraise) && r.DirectIO {
		c.remark(c.wordOf(flagDirectIO), RuleDirectIO, finding.Warn, "permit_directio of this rule applies to every appraise rule that matches the same file")
	}
	if r.Verity && r.AppraiseType == IMASig {
		c.remark(c.wordOf(flagSignature), RuleIgnored, finding.Note, "appraise_type=imasig before digest_type=verity demands an fs-verity signature, as digest_type=verity appraise_type=sigv3 does, which older kernels accept, too")
	}
	if r.Verity && strings.HasPrefix(string(r.Action), "dont_") {
		c.remark(c.wordOf(flagVerity), RuleIgnored, finding.Warn, "digest_type=verity is not a condition: %s also exempts files without fs-verity", r.Action)
	}
}
