package policy

import (
	"slices"

	"github.com/imasign/imasign-build/internal/certs"
)

// Action is the first word of a rule.
type Action string

// The actions.
const (
	Measure      Action = "measure"       // add the file's digest to the measurement list and extend a PCR
	DontMeasure  Action = "dont_measure"  // and not what later rules would
	Appraise     Action = "appraise"      // refuse the file unless security.ima fits it
	DontAppraise Action = "dont_appraise" // and not what later rules would
	Audit        Action = "audit"         // write the file's digest to the audit log
	Hash         Action = "hash"          // keep a digest in security.ima
	DontHash     Action = "dont_hash"     // and not what later rules would
)

// class is the action that a rule decides about: the kernel goes on after the first
// rule that matches, but not with rules of the same class.
func (a Action) class() Action {
	switch a {
	case DontMeasure:
		return Measure
	case DontAppraise:
		return Appraise
	case DontHash:
		return Hash
	}
	return a
}

// does reports whether the action does something, rather than except from it.
func (a Action) does() bool { return a == a.class() }

// Func is the place in the kernel that a rule is about.
type Func string

// The funcs. The zero value, [AnyFunc], is a rule without func=.
const (
	AnyFunc             Func = ""
	FileCheck           Func = "FILE_CHECK" // a file is opened; PATH_CHECK is its old name
	MmapCheck           Func = "MMAP_CHECK" // a file is mapped executable; FILE_MMAP is its old name
	MmapCheckReqProt    Func = "MMAP_CHECK_REQPROT"
	BprmCheck           Func = "BPRM_CHECK"  // a program or script is executed
	CredsCheck          Func = "CREDS_CHECK" // the same, with the identity that it will have
	ModuleCheck         Func = "MODULE_CHECK"
	FirmwareCheck       Func = "FIRMWARE_CHECK"
	PolicyCheck         Func = "POLICY_CHECK" // an IMA policy is loaded by its path
	KexecKernelCheck    Func = "KEXEC_KERNEL_CHECK"
	KexecInitramfsCheck Func = "KEXEC_INITRAMFS_CHECK"
	KexecCmdline        Func = "KEXEC_CMDLINE"  // measured only
	KeyCheck            Func = "KEY_CHECK"      // a key is added to a keyring; measured only
	CriticalData        Func = "CRITICAL_DATA"  // kernel memory; measured only
	SetxattrCheck       Func = "SETXATTR_CHECK" // security.ima is written; algorithms only
)

// Mask is how a file is opened.
type Mask string

// The masks.
const (
	MayExec   Mask = "MAY_EXEC"
	MayWrite  Mask = "MAY_WRITE"
	MayRead   Mask = "MAY_READ"
	MayAppend Mask = "MAY_APPEND"
)

// AppraiseType is what an appraised file must have.
type AppraiseType string

// The types. The zero value, [AnyValue], is a rule without appraise_type=.
const (
	AnyValue       AppraiseType = ""       // a digest is enough
	IMASig         AppraiseType = "imasig" // a signature in security.ima
	IMASigOrModsig AppraiseType = "imasig|modsig"
	SigV3          AppraiseType = "sigv3" // a signature over the fs-verity digest
)

// Label is a condition on a security module's label.
type Label string

// The labels.
const (
	ObjUser  Label = "obj_user" // of the file
	ObjRole  Label = "obj_role"
	ObjType  Label = "obj_type"
	SubjUser Label = "subj_user" // of the process
	SubjRole Label = "subj_role"
	SubjType Label = "subj_type"
)

// labels are in the order of the kernel's enum lsm_rule_types.
func labels() []Label { return []Label{ObjUser, ObjRole, ObjType, SubjUser, SubjRole, SubjType} }

// Word is an element of the policy language.
type Word struct {
	Text  string       // as it is written, with the operator but without a value: "uid>"
	Value bool         // whether a value follows
	Since certs.Kernel // the release that introduced it
}

// Words returns every action, condition and option of the language.
func Words() []Word { return slices.Clone(words) }

// words is policy_tokens of the kernel. It is never written to.
var words = language()

func language() []Word {
	var words []Word
	for _, a := range []struct {
		action       Action
		major, minor int
	}{
		{Measure, 2, 6}, {DontMeasure, 2, 6}, {Appraise, 3, 7}, {DontAppraise, 3, 7}, {Audit, 3, 9}, {Hash, 4, 15}, {DontHash, 4, 15},
	} {
		words = append(words, Word{string(a.action), false, certs.Kernel{Major: a.major, Minor: a.minor}})
	}
	for _, label := range labels() {
		words = append(words, Word{string(label) + "=", true, certs.Kernel{Major: 2, Minor: 6}})
	}
	for _, c := range []struct {
		name         string
		major, minor int
		ordered      bool // has < and > as well, since 4.13 or its own introduction
	}{
		{"func", 2, 6, false}, {"mask", 2, 6, false}, {"fsmagic", 2, 6, false}, {"fsname", 4, 17, false}, {"fsuuid", 3, 9, false},
		{"uid", 2, 6, true}, {"euid", 4, 2, true}, {"gid", 5, 16, true}, {"egid", 5, 16, true}, {"fowner", 3, 7, true}, {"fgroup", 5, 16, true},
		{"digest_type", 5, 19, false}, {"appraise_type", 3, 9, false}, {"appraise_flag", 5, 5, false}, {"appraise_algos", 5, 15, false},
		{"pcr", 4, 8, false}, {"template", 5, 3, false}, {"keyrings", 5, 6, false}, {"label", 5, 12, false},
	} {
		since := certs.Kernel{Major: c.major, Minor: c.minor}
		words = append(words, Word{c.name + "=", true, since})
		if c.ordered {
			if before(since, 4, 13) {
				since = certs.Kernel{Major: 4, Minor: 13}
			}
			words = append(words, Word{c.name + ">", true, since}, Word{c.name + "<", true, since})
		}
	}
	return append(words, Word{"permit_directio", false, certs.Kernel{Major: 4, Minor: 17}})
}

// FuncWord is a value of func=.
type FuncWord struct {
	Text  string // as it is written
	Func  Func   // that it stands for
	Since certs.Kernel
}

// FuncWords returns every value of func=, the old names included.
func FuncWords() []FuncWord { return slices.Clone(funcWords) }

// funcWords is never written to.
var funcWords = []FuncWord{
	{"FILE_CHECK", FileCheck, certs.Kernel{Major: 2, Minor: 6}},
	{"PATH_CHECK", FileCheck, certs.Kernel{Major: 2, Minor: 6}},
	{"MMAP_CHECK", MmapCheck, certs.Kernel{Major: 3, Minor: 9}},
	{"FILE_MMAP", MmapCheck, certs.Kernel{Major: 2, Minor: 6}},
	{"MMAP_CHECK_REQPROT", MmapCheckReqProt, certs.Kernel{Major: 6, Minor: 3}},
	{"BPRM_CHECK", BprmCheck, certs.Kernel{Major: 2, Minor: 6}},
	{"CREDS_CHECK", CredsCheck, certs.Kernel{Major: 4, Minor: 17}},
	{"MODULE_CHECK", ModuleCheck, certs.Kernel{Major: 3, Minor: 8}},
	{"FIRMWARE_CHECK", FirmwareCheck, certs.Kernel{Major: 3, Minor: 17}},
	{"POLICY_CHECK", PolicyCheck, certs.Kernel{Major: 4, Minor: 6}},
	{"KEXEC_KERNEL_CHECK", KexecKernelCheck, certs.Kernel{Major: 4, Minor: 6}},
	{"KEXEC_INITRAMFS_CHECK", KexecInitramfsCheck, certs.Kernel{Major: 4, Minor: 6}},
	{"KEXEC_CMDLINE", KexecCmdline, certs.Kernel{Major: 5, Minor: 3}},
	{"KEY_CHECK", KeyCheck, certs.Kernel{Major: 5, Minor: 6}},
	{"CRITICAL_DATA", CriticalData, certs.Kernel{Major: 5, Minor: 12}},
	{"SETXATTR_CHECK", SetxattrCheck, certs.Kernel{Major: 5, Minor: 15}},
}

// before reports whether a kernel is older than a release; the zero Kernel is the
// newest.
func before(k certs.Kernel, major, minor int) bool {
	return k != (certs.Kernel{}) && (k.Major < major || k.Major == major && k.Minor < minor)
}

func older(k, than certs.Kernel) bool { return before(k, than.Major, than.Minor) }
