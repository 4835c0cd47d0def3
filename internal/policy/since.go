package policy

import (
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// way is a way of writing rules that the kernel did not have from the beginning, or a word
// that it has since ignored.
type way string

const (
	anyOfMask       way = "^ in mask="
	blacklistAlways way = "appraisal by signature that always checks the blacklist" // appraise_flag= has no effect
	trailingComment way = "a comment at the end of a rule"
	sigV3OfContent  way = "appraise_type=sigv3 without digest_type=verity"
	digestTypeLast  way = "digest_type= after appraise_type="
)

// release is what a release of Linux added to the language.
type release struct {
	major, minor int
	words        string // separated by spaces; a word that ends in an operator takes a value
	values       string // values that earlier releases refused, as they are written in a rule
	ways         []way
}

// releases says since when the kernel has each part of the language. This is the only place
// that does. "Linux 2.6" stands for 2.6.30, and for whatever is older than the rules that this
// package knows. Nothing writes to it.
var releases = [...]release{
	{2, 6, "measure dont_measure obj_user= obj_role= obj_type= subj_user= subj_role= subj_type= func= mask= fsmagic= uid=",
		"func=FILE_CHECK func=PATH_CHECK func=FILE_MMAP func=BPRM_CHECK", nil},
	{3, 7, "appraise dont_appraise fowner=", "", nil},
	{3, 8, "", "func=MODULE_CHECK", nil},
	{3, 9, "audit fsuuid= appraise_type=", "func=MMAP_CHECK appraise_type=imasig", nil},
	{3, 17, "", "func=FIRMWARE_CHECK", nil},
	{4, 2, "euid=", "", []way{anyOfMask}},
	{4, 6, "", "func=POLICY_CHECK func=KEXEC_KERNEL_CHECK func=KEXEC_INITRAMFS_CHECK", nil},
	{4, 8, "pcr=", "", nil},
	{4, 13, "uid> uid< euid> euid< fowner> fowner<", "", nil},
	{4, 15, "hash dont_hash", "", nil},
	{4, 17, "fsname= permit_directio", "func=CREDS_CHECK", nil},
	{5, 3, "template=", "func=KEXEC_CMDLINE template=ima template=ima-ng template=ima-sig template=ima-buf", nil},
	{5, 4, "", "appraise_type=imasig|modsig template=ima-modsig", nil},
	{5, 5, "appraise_flag=", "", nil},
	{5, 6, "keyrings=", "func=KEY_CHECK", nil},
	{5, 12, "label=", "func=CRITICAL_DATA", nil},
	{5, 14, "", "template=evm-sig", nil},
	{5, 15, "appraise_algos=", "func=SETXATTR_CHECK", nil},
	{5, 16, "gid= gid> gid< egid= egid> egid< fgroup= fgroup> fgroup<", "", nil},
	{5, 19, "digest_type=", "appraise_type=sigv3 template=ima-ngv2 template=ima-sigv2", nil},
	{6, 3, "", "func=MMAP_CHECK_REQPROT", nil},
	{6, 6, "", "", []way{blacklistAlways}},
	{6, 7, "", "appraise_algos=sha3-256 appraise_algos=sha3-384 appraise_algos=sha3-512", nil},
	{6, 14, "", "", []way{trailingComment}},
	{6, 19, "dont_audit fs_subtype=", "", nil},
	{7, 1, "", "", []way{sigV3OfContent, digestTypeLast}},
}

// element is an action, condition or option of the language.
type element struct {
	text  string         // as written in a policy, with the operator, but without the value: "uid>"
	value bool           // a value follows
	since kernel.Version // the release that introduced it
}

// history is releases, by what they added. Nothing writes to it.
var history = func() (h struct {
	words  []element
	values map[string]kernel.Version // by what is written in a rule: "func=MODULE_CHECK"
	ways   map[way]kernel.Version
}) {
	h.values, h.ways = map[string]kernel.Version{}, map[way]kernel.Version{}
	for _, r := range releases {
		since := kernel.Version{Major: r.major, Minor: r.minor}
		for _, text := range strings.Fields(r.words) {
			h.words = append(h.words, element{text, strings.ContainsAny(text, "=<>"), since})
		}
		for _, text := range strings.Fields(r.values) {
			h.values[text] = since
		}
		for _, w := range r.ways {
			h.ways[w] = since
		}
	}
	return h
}()

// lookup returns the element of the language and the value of a word, or nil if it is unknown.
func lookup(text string) (*element, string) {
	for i := range history.words {
		value, ok := strings.CutPrefix(text, history.words[i].text)
		if ok && history.words[i].value == (value != "") {
			return &history.words[i], value
		}
	}
	return nil, ""
}

// has reports whether the kernel has a way of writing rules.
func (t Target) has(w way) bool { return !t.Version.Older(history.ways[w]) }

// laterAccepts reports whether the target is a newer kernel than the known ones and may
// accept the line in spite of r. Then there is a warning instead of the refusal.
func (c *compiler) laterAccepts(r *refusal) bool {
	if r == nil || !r.now || !kernel.Newest().Older(c.target.Version) {
		return false
	}
	c.unsure = true
	c.remark(r.word, r.rule, finding.Warn, "%s; that is so up to Linux %s, and Linux %s may accept the line", r.detail, kernel.Newest(), c.target.Version)
	return true
}

// needsRelease refuses what the kernel got in a later release than the target. If the target
// may be any kernel, it warns of releases that are newer than the oldest one of interest.
func (c *compiler) needsRelease(word Token, rule, what string, since kernel.Version) *refusal {
	switch {
	case c.target.Version.Older(since):
		return refuse(word, rule, "%s needs Linux %s", what, since)
	case c.target.Version == (kernel.Version{}) && kernel.Oldest().Older(since):
		c.remark(word, RuleNewer, finding.Warn, "%s needs Linux %s: an older kernel refuses the policy", what, since)
	}
	return nil
}

func (c *compiler) needsWay(word Token, rule string, w way) *refusal {
	return c.needsRelease(word, rule, string(w), history.ways[w])
}
