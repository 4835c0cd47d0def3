package policy

import "github.com/imasign/imasign-build/internal/kernel"

// Action is the first word of a rule.
type Action string

// The actions.
const (
	Measure      Action = "measure"       // add the file's digest to the measurement list and extend a PCR
	DontMeasure  Action = "dont_measure"  // exempt the file from later measure rules
	Appraise     Action = "appraise"      // refuse the file unless security.ima is valid for it
	DontAppraise Action = "dont_appraise" // exempt the file from later appraise rules
	Audit        Action = "audit"         // write the file's digest to the audit log
	Hash         Action = "hash"          // keep a digest in security.ima
	DontHash     Action = "dont_hash"     // exempt the file from later hash rules
)

// Class returns the action that a rule decides about. After a rule matches, the kernel skips
// the later rules of the same class, but continues with those of other classes.
func (a Action) Class() Action {
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

// does reports whether the action does something, instead of making an exception.
func (a Action) does() bool { return a == a.Class() }

// Func is the place in the kernel that a rule is about: the value of func=.
type Func string

// The funcs. The zero value, [AnyFunc], stands for a rule without func=.
const (
	AnyFunc             Func = ""
	FileCheck           Func = "FILE_CHECK" // a file is opened; PATH_CHECK is its old name
	MmapCheck           Func = "MMAP_CHECK" // a file is mapped executable; FILE_MMAP is its old name
	MmapCheckReqProt    Func = "MMAP_CHECK_REQPROT"
	BprmCheck           Func = "BPRM_CHECK"  // a program or script is executed
	CredsCheck          Func = "CREDS_CHECK" // the same, with the ids that the program will have
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

// AppraiseType is the kind of value that an appraised file must have.
type AppraiseType string

// The types. The zero value, [AnyValue], stands for a rule without appraise_type=.
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

// labels returns the labels in the order of the kernel's enum lsm_rule_types.
func labels() []Label { return []Label{ObjUser, ObjRole, ObjType, SubjUser, SubjRole, SubjType} }

// element is an action, condition or option of the language.
type element struct {
	text  string         // as written in a policy, with the operator, but without the value: "uid>"
	value bool           // a value follows
	since kernel.Version // the release that introduced it
}

// words is the whole language: policy_tokens of the kernel. Nothing writes to it.
var words = language()

func language() []element {
	var words []element
	for _, a := range []struct {
		action       Action
		major, minor int
	}{
		{Measure, 2, 6}, {DontMeasure, 2, 6}, {Appraise, 3, 7}, {DontAppraise, 3, 7}, {Audit, 3, 9}, {Hash, 4, 15}, {DontHash, 4, 15},
	} {
		words = append(words, element{string(a.action), false, kernel.Version{Major: a.major, Minor: a.minor}})
	}
	for _, label := range labels() {
		words = append(words, element{string(label) + "=", true, kernel.Version{Major: 2, Minor: 6}})
	}
	for _, c := range []struct {
		name         string
		major, minor int
		ordered      bool // also with < and >, since 4.13 or its introduction
	}{
		{"func", 2, 6, false}, {"mask", 2, 6, false}, {"fsmagic", 2, 6, false}, {"fsname", 4, 17, false}, {"fsuuid", 3, 9, false},
		{"uid", 2, 6, true}, {"euid", 4, 2, true}, {"gid", 5, 16, true}, {"egid", 5, 16, true}, {"fowner", 3, 7, true}, {"fgroup", 5, 16, true},
		{"digest_type", 5, 19, false}, {"appraise_type", 3, 9, false}, {"appraise_flag", 5, 5, false}, {"appraise_algos", 5, 15, false},
		{"pcr", 4, 8, false}, {"template", 5, 3, false}, {"keyrings", 5, 6, false}, {"label", 5, 12, false},
	} {
		since := kernel.Version{Major: c.major, Minor: c.minor}
		words = append(words, element{c.name + "=", true, since})
		if c.ordered {
			if since.Before(4, 13) {
				since = kernel.Version{Major: 4, Minor: 13}
			}
			words = append(words, element{c.name + ">", true, since}, element{c.name + "<", true, since})
		}
	}
	return append(words, element{"permit_directio", false, kernel.Version{Major: 4, Minor: 17}})
}

// funcWord is a value of func=.
type funcWord struct {
	text  string // as written in a policy
	hook  Func   // its meaning
	since kernel.Version
}

// funcWords are the values of func=, old names included. Nothing writes to it.
var funcWords = []funcWord{
	{"FILE_CHECK", FileCheck, kernel.Version{Major: 2, Minor: 6}},
	{"PATH_CHECK", FileCheck, kernel.Version{Major: 2, Minor: 6}},
	{"MMAP_CHECK", MmapCheck, kernel.Version{Major: 3, Minor: 9}},
	{"FILE_MMAP", MmapCheck, kernel.Version{Major: 2, Minor: 6}},
	{"MMAP_CHECK_REQPROT", MmapCheckReqProt, kernel.Version{Major: 6, Minor: 3}},
	{"BPRM_CHECK", BprmCheck, kernel.Version{Major: 2, Minor: 6}},
	{"CREDS_CHECK", CredsCheck, kernel.Version{Major: 4, Minor: 17}},
	{"MODULE_CHECK", ModuleCheck, kernel.Version{Major: 3, Minor: 8}},
	{"FIRMWARE_CHECK", FirmwareCheck, kernel.Version{Major: 3, Minor: 17}},
	{"POLICY_CHECK", PolicyCheck, kernel.Version{Major: 4, Minor: 6}},
	{"KEXEC_KERNEL_CHECK", KexecKernelCheck, kernel.Version{Major: 4, Minor: 6}},
	{"KEXEC_INITRAMFS_CHECK", KexecInitramfsCheck, kernel.Version{Major: 4, Minor: 6}},
	{"KEXEC_CMDLINE", KexecCmdline, kernel.Version{Major: 5, Minor: 3}},
	{"KEY_CHECK", KeyCheck, kernel.Version{Major: 5, Minor: 6}},
	{"CRITICAL_DATA", CriticalData, kernel.Version{Major: 5, Minor: 12}},
	{"SETXATTR_CHECK", SetxattrCheck, kernel.Version{Major: 5, Minor: 15}},
}
