package policy

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// number reads a number as kstrtoul does: digits after an optional plus sign and, in base 16,
// an optional 0x. It assumes an unsigned long of 64 bits.
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
			return refuse(word, RuleNumber, "fsmagic=%s: must be a hexadecimal number of at most 64 bits", value)
		}
		c.rule.FSMagic = &magic
		c.mark(flagFSMagic, word)
	case "fsname":
		if c.rule.FSName != "" {
			c.remark(word, RuleIgnored, finding.Warn, "fsname= is given twice: the kernel keeps the last, fsname=%s", value)
		}
		c.rule.FSName = value
		c.mark(flagFSName, word)
	case "fs_subtype":
		if c.rule.FSSubtype != "" {
			return refuse(word, RuleRepeated, "fs_subtype= is given twice")
		}
		c.rule.FSSubtype = value
		c.mark(flagFSSubtype, word)
	default:
		return c.setUUID(word, value)
	}
	return nil
}

// setUUID reads a UUID as uuid_parse does: it reads 36 bytes and ignores the rest.
func (c *compiler) setUUID(word Token, value string) *refusal {
	if c.rule.FSUUID != nil && *c.rule.FSUUID != [16]byte{} {
		return refuse(word, RuleRepeated, "fsuuid= is given twice")
	}
	const length = 36
	bad := refuse(word, RuleValue, "fsuuid=%s: must have the form 8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6", value)
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
		c.remark(word, RuleIgnored, finding.Warn, "the kernel ignores %q after the UUID", value[length:])
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
		return refuse(word, RuleRepeated, "%s is given twice: the kernel does not support ranges", key)
	default:
		return refuse(word, RuleRepeated, "%s after an earlier %s or %s: a rule can have only one of them, once", key, key, twin)
	}
	n, err := number(value, 10)
	const none = 1<<32 - 1
	switch {
	case err != nil && strings.HasPrefix(value, "="):
		return refuse(word, RuleNumber, "%s: there is no %c=; %s%c%s would do", word.Text, op, key, op, neighbour(op, value[1:]))
	case err != nil:
		return refuse(word, RuleNumber, "%s: %s needs a decimal number, not a name", word.Text, key)
	case n >= none:
		return refuse(word, RuleNumber, "%s: the largest id is 4294967294", word.Text)
	}
	*id = &ID{Effective: key == "euid" || key == "egid", Op: op, Number: uint32(n)}
	c.mark(f, word)
	return nil
}

// neighbour returns the number to use with op instead of the number value after op and "=":
// >=1000 is >999, and <=1000 is <1001.
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
