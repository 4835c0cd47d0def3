package policy

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// number reads what kstrtoul does: digits, a plus sign before them, in base 16 an
// 0x between. The kernel's unsigned long is taken to have 64 bits.
func number(value string, base int) (uint64, error) {
	value = strings.TrimPrefix(value, "+")
	if base == 16 && len(value) > 1 && value[0] == '0' && value[1]|0x20 == 'x' {
		value = value[2:]
	}
	if strings.ContainsAny(value, "_+-") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(value, base, 64)
}

func (c *compiler) setFileSystem(word Token, key, value string) *refusal {
	switch key {
	case "fsmagic":
		if c.rule.FSMagic != nil && *c.rule.FSMagic != 0 {
			return refuse(word, RuleRepeated, "fsmagic= is given twice")
		}
		magic, err := number(value, 16)
		if err != nil {
			return refuse(word, RuleNumber, "fsmagic=%s: it is a hexadecimal number of at most 64 bits", value)
		}
		c.rule.FSMagic = &magic
		c.mark(flagFSMagic, word)
	case "fsname":
		if c.rule.FSName != "" {
			c.remark(word, RuleIgnored, Warn, "fsname= is given twice: the kernel keeps the last, fsname=%s", value)
		}
		c.rule.FSName = value
		c.mark(flagFSName, word)
	default:
		return c.setUUID(word, value)
	}
	return nil
}

// setUUID reads as uuid_parse does: 36 bytes, and whatever follows is not looked at.
func (c *compiler) setUUID(word Token, value string) *refusal {
	if c.rule.FSUUID != nil && *c.rule.FSUUID != [16]byte{} {
		return refuse(word, RuleRepeated, "fsuuid= is given twice")
	}
	const length = 36
	bad := refuse(word, RuleValue, "fsuuid=%s: it has the form 8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6", value)
	if len(value) < length {
		return bad
	}
	text := value[:length]
	if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return bad
	}
	raw, err := hex.DecodeString(text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:])
	if err != nil {
		return bad
	}
	if len(value) > length {
		c.remark(word, RuleIgnored, Warn, "the kernel does not look at %q after the UUID", value[length:])
	}
	c.rule.FSUUID = (*[16]byte)(raw)
	c.mark(flagFSUUID, word)
	return nil
}

func (c *compiler) setID(word Token, key string, op byte, value string) *refusal {
	var id **ID
	var f flag
	var twin string
	switch key {
	case "uid":
		id, f, twin = &c.rule.UID, flagUID, "euid"
	case "euid":
		id, f, twin = &c.rule.UID, flagEUID, "uid"
	case "gid":
		id, f, twin = &c.rule.GID, flagGID, "egid"
	case "egid":
		id, f, twin = &c.rule.GID, flagEGID, "gid"
	case "fowner":
		id, f = &c.rule.FOwner, flagFOwner
	default:
		id, f = &c.rule.FGroup, flagFGroup
	}
	switch {
	case *id == nil:
	case twin == "":
		return refuse(word, RuleRepeated, "%s is given twice: the kernel has no ranges", key)
	default:
		return refuse(word, RuleRepeated, "%s after an earlier %s or %s: a rule takes one of them, once", key, key, twin)
	}
	n, err := number(value, 10)
	const none = 1<<32 - 1
	switch {
	case err != nil && strings.HasPrefix(value, "="):
		return refuse(word, RuleNumber, "%s: there is no %c=; %s%c%s would do", word.Text, op, key, op, neighbour(op, value[1:]))
	case err != nil:
		return refuse(word, RuleNumber, "%s: %s takes a decimal number, not a name", word.Text, key)
	case n >= none:
		return refuse(word, RuleNumber, "%s: ids end at 4294967294", word.Text)
	}
	*id = &ID{Effective: key == "euid" || key == "egid", Op: op, Number: uint32(n)}
	c.mark(f, word)
	return nil
}

// neighbour turns the number of >= into that of >, and of <= into that of <.
func neighbour(op byte, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil || n > 1<<32:
		return "NUMBER"
	case op == '>' && n > 0:
		return strconv.FormatInt(n-1, 10)
	case op == '<':
		return strconv.FormatInt(n+1, 10)
	}
	return "NUMBER"
}

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
		return refuse(word, RuleNumber, "pcr=%s: it is a decimal number from 0 to 63, and to 31 on 32-bit kernels", value)
	}
	if c.set&flagPCR != 0 {
		c.remark(word, RuleIgnored, Warn, "pcr= is given twice: the kernel keeps the last, pcr=%d", n)
	}
	pcr := int(n)
	c.rule.PCR = &pcr
	c.mark(flagPCR, word)
	return nil
}

// templates are the names in builtin_templates of ima_template.c, with their formats,
// which the kernel takes for a name as well. It is never written to.
var templates = [...]struct{ name, format string }{
	{"ima", "d|n"}, {"ima-ng", "d-ng|n-ng"}, {"ima-sig", "d-ng|n-ng|sig"}, {"ima-ngv2", "d-ngv2|n-ng"}, {"ima-sigv2", "d-ngv2|n-ng|sig"},
	{"ima-buf", "d-ng|n-ng|buf"}, {"ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"},
	{"evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"},
}

func (c *compiler) setTemplate(word Token, value string) *refusal {
	if c.rule.Action == "" {
		return refuse(word, RuleOrder, "template= stands before the action: the kernel takes it after measure only")
	}
	if c.rule.Action != Measure {
		return refuse(word, RuleNotForAction, "template= is for measure, not for %s", c.rule.Action)
	}
	name := ""
	for _, t := range templates {
		if value == t.name || value == t.format {
			name = t.name
		}
	}
	switch {
	case value == "ima-sigv3":
		return refuse(word, RuleValue, "template=ima-sigv3: no kernel has it, though its documentation names it; ima-sigv2 is meant")
	case name == "":
		return refuse(word, RuleValue, "template=%s: no template of the kernel", value)
	case (name == "ima-ngv2" || name == "ima-sigv2") && before(c.kernel.Version, 5, 19):
		return refuse(word, RuleNewer, "template=%s is understood since Linux 5.19", value)
	case name == "evm-sig" && before(c.kernel.Version, 5, 14):
		return refuse(word, RuleNewer, "template=%s is understood since Linux 5.14", value)
	case c.rule.Template != "":
		return refuse(word, RuleRepeated, "template= is given twice")
	}
	c.rule.Template = name
	return nil
}

func (c *compiler) setAppraisal(word Token, key, value string) *refusal {
	switch key {
	case "digest_type":
		if c.set&flagSignature != 0 {
			return refuse(word, RuleOrder, "digest_type= stands after appraise_type=: the kernel takes it before only")
		}
		if value != "verity" {
			return refuse(word, RuleValue, "digest_type=%s: it is verity, or left out", value)
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
			return refuse(word, RuleValue, "appraise_type=%s with digest_type=verity: its signatures are appraise_type=sigv3", value)
		}
	default:
		return refuse(word, RuleValue, "appraise_type=%s: it is imasig, imasig|modsig or sigv3", value)
	}
	if kind == IMASigOrModsig {
		c.mark(flagModsig, word)
	}
	if c.rule.AppraiseType != IMASigOrModsig { // a later imasig does not take modsig back
		c.rule.AppraiseType = kind
	}
	c.mark(flagSignature, word)
	return nil
}

// impliedBlacklist says whether every appraisal by signature looks at the blacklist,
// and appraise_flag= is read without being looked at.
func (c *compiler) impliedBlacklist() bool { return !before(c.kernel.Version, 6, 6) }

func (c *compiler) setFlag(word Token, value string) *refusal {
	if c.impliedBlacklist() {
		c.remark(word, RuleDeprecated, Note, "appraise_flag= has no effect since Linux 6.6: every appraisal by signature looks at the blacklist")
		return nil
	}
	if r := c.needs(word, "CONFIG_IMA_APPRAISE_MODSIG"); r != nil {
		return r
	}
	if !strings.Contains(value, "blacklist") {
		return refuse(word, RuleValue, "appraise_flag=%s: it is check_blacklist", value)
	}
	c.rule.CheckBlacklist = true
	c.mark(flagBlacklist, word)
	return nil
}

// hashSymbol is what makes a hash algorithm available; "" for one that no kernel
// of today has.
func hashSymbol(h ima.HashID) string {
	switch h {
	case ima.MD4:
		return "CONFIG_CRYPTO_MD4"
	case ima.MD5:
		return "CONFIG_CRYPTO_MD5"
	case ima.SHA1:
		return "CONFIG_CRYPTO_SHA1"
	case ima.RIPEMD160:
		return "CONFIG_CRYPTO_RMD160"
	case ima.SHA224, ima.SHA256:
		return "CONFIG_CRYPTO_SHA256"
	case ima.SHA384, ima.SHA512:
		return "CONFIG_CRYPTO_SHA512"
	case ima.Whirlpool256, ima.Whirlpool384, ima.Whirlpool512:
		return "CONFIG_CRYPTO_WP512"
	case ima.SM3:
		return "CONFIG_CRYPTO_SM3"
	case ima.Streebog256, ima.Streebog512:
		return "CONFIG_CRYPTO_STREEBOG"
	case ima.SHA3_256, ima.SHA3_384, ima.SHA3_512:
		return "CONFIG_CRYPTO_SHA3"
	}
	return ""
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
			return refuse(word, RuleValue, "appraise_algos=%s: %s is no hash algorithm of the kernel", value, strconv.Quote(name))
		case hash >= ima.SHA3_256 && before(c.kernel.Version, 6, 7):
			return refuse(word, RuleNewer, "appraise_algos=%s: %s is understood since Linux 6.7", value, name)
		}
		if r := c.algorithm(word, hash); r != nil {
			return r
		}
		c.rule.Algorithms = append(c.rule.Algorithms, hash)
	}
	c.mark(flagAlgorithms, word)
	return nil
}

// algorithm asks for what crypto_has_alg finds. SHA-1 is always there with IMA.
func (c *compiler) algorithm(word Token, hash ima.HashID) *refusal {
	symbol := hashSymbol(hash)
	config := c.kernel.Config
	switch {
	case symbol == "" && before(c.kernel.Version, 5, 13):
		c.remark(word, RuleUnread, Warn, "%s was removed from Linux in 2021; an older kernel may have it", hash)
	case symbol == "":
		return refuse(word, RuleValue, "%s: Linux names %s and does not have it since 2021", word.Text, hash)
	case hash == ima.SHA1:
	case config == nil && hash != ima.SHA256:
		c.remark(word, RuleConfig, Warn, "%s needs %s; without it the kernel refuses the rule", hash, symbol)
	case config == nil:
	case config.provided(symbol) == "m":
		c.remark(word, RuleConfig, Warn, "%s is a module (%s=m): the kernel refuses the rule unless it is loaded, or modprobe can load it, by then", hash, symbol)
	case config.provided(symbol) == "":
		return refuse(word, RuleConfig, "%s needs %s, which the kernel is built without", hash, symbol)
	}
	return nil
}
