package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Rule is a parsed rule. A condition that is nil or zero is not in the rule.
type Rule struct {
	Line   int // number of its line in the file; 0 for none
	Action Action
	Func   Func
	Mask   Mask
	// AnyOf says that Mask has a ^. Then the mask also matches accesses with further bits.
	AnyOf bool

	FSMagic *uint64   // statfs f_type
	FSName  string    // as in /proc/filesystems
	FSUUID  *[16]byte // of the superblock, in the order of its text
	// FSSubtype is what /proc/mounts has after "fuse.", such as sshfs.
	FSSubtype string

	UID    *ID // of the process; for a process that may change its ids, an effective id also matches the saved and real ids
	GID    *ID
	FOwner *ID // of the file
	FGroup *ID

	Labels map[Label]string

	AppraiseType   AppraiseType
	Verity         bool // digest_type=verity
	CheckBlacklist bool
	Algorithms     []ima.HashID // allowed in security.ima; nil for all
	DirectIO       bool         // permit_directio

	PCR      *int
	Template string
	Keyrings []string // KEY_CHECK
	Data     []string // label= of CRITICAL_DATA
}

// ID is a comparison with a user or group id.
type ID struct {
	Effective bool // euid or egid
	Op        byte // '=', '<' or '>'
	Number    uint32
}

// bounds returns the smallest and the largest id that match. ok is false if no id matches.
// 4294967295 is the kernel's value for "no id", so nobody has it.
func (i *ID) bounds() (low, high uint32, ok bool) {
	const last = 1<<32 - 2
	switch {
	case i == nil:
		return 0, last, true
	case i.Op == '<':
		return 0, i.Number - 1, i.Number > 0
	case i.Op == '>':
		return i.Number + 1, last, i.Number < last
	}
	return i.Number, i.Number, true
}

// has reports whether an id matches.
func (i *ID) has(id uint32) bool {
	low, high, ok := i.bounds()
	return ok && low <= id && id <= high
}

// String returns the text of the rule, with its words in the order in which the kernel prints
// them, as far as the kernel also accepts that order.
func (r *Rule) String() string {
	words := []string{string(r.Action)}
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if r.Func != AnyFunc {
		add("func=%s", r.Func)
	}
	if r.Mask != "" {
		add("mask=%s%s", map[bool]string{true: "^"}[r.AnyOf], r.Mask)
	}
	if r.FSMagic != nil {
		add("fsmagic=0x%x", *r.FSMagic)
	}
	if r.FSName != "" {
		add("fsname=%s", r.FSName)
	}
	if r.FSSubtype != "" {
		add("fs_subtype=%s", r.FSSubtype)
	}
	if r.Keyrings != nil {
		add("keyrings=%s", strings.Join(r.Keyrings, "|"))
	}
	if r.Data != nil {
		add("label=%s", strings.Join(r.Data, "|"))
	}
	if r.PCR != nil {
		add("pcr=%d", *r.PCR)
	}
	if u := r.FSUUID; u != nil {
		add("fsuuid=%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	}
	words = append(words, r.owners()...)
	return strings.Join(append(words, r.options()...), " ")
}

func (r *Rule) owners() []string {
	var words []string
	for _, o := range []struct {
		name, effective string
		id              *ID
	}{{"uid", "euid", r.UID}, {"gid", "egid", r.GID}, {"fowner", "", r.FOwner}, {"fgroup", "", r.FGroup}} {
		if o.id == nil {
			continue
		}
		name := o.name
		if o.id.Effective {
			name = o.effective
		}
		words = append(words, name+string(o.id.Op)+strconv.FormatUint(uint64(o.id.Number), 10))
	}
	return words
}

func (r *Rule) options() []string {
	var words []string
	if r.Algorithms != nil {
		names := make([]string, len(r.Algorithms))
		for i, h := range r.Algorithms {
			names[i] = h.String()
		}
		words = append(words, "appraise_algos="+strings.Join(names, ","))
	}
	for _, label := range labels() {
		if value, ok := r.Labels[label]; ok {
			words = append(words, string(label)+"="+value)
		}
	}
	if r.Template != "" {
		words = append(words, "template="+r.Template)
	}
	words = append(words, r.appraisal()...)
	if r.CheckBlacklist {
		words = append(words, "appraise_flag=check_blacklist")
	}
	if r.DirectIO {
		words = append(words, "permit_directio")
	}
	return words
}

// appraisal returns digest_type= and appraise_type=. No kernel accepts imasig after verity,
// and old ones accept sigv3 only there.
func (r *Rule) appraisal() []string {
	var words []string
	switch r.AppraiseType {
	case AnyValue:
	case SigV3OrModsig:
		words = []string{"appraise_type=" + string(IMASigOrModsig), "appraise_type=" + string(SigV3)}
	default:
		words = []string{"appraise_type=" + string(r.AppraiseType)}
	}
	switch {
	case !r.Verity:
		return words
	case r.AppraiseType == SigV3:
		return []string{"digest_type=verity", words[0]}
	}
	return append(words, "digest_type=verity")
}
