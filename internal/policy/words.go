package policy

// Action is the first word of a rule.
type Action string

// The actions.
const (
	Measure      Action = "measure"       // add the file's digest to the measurement list and extend a PCR
	DontMeasure  Action = "dont_measure"  // exempt the file from later measure rules
	Appraise     Action = "appraise"      // refuse the file unless security.ima is valid for it
	DontAppraise Action = "dont_appraise" // exempt the file from later appraise rules
	Audit        Action = "audit"         // write the file's digest to the audit log
	DontAudit    Action = "dont_audit"    // exempt the file from later audit rules
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
	case DontAudit:
		return Audit
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

// AppraiseType is the kind of value that an appraised file must have: the values of a rule's
// appraise_type= words, which the kernel adds up.
type AppraiseType string

// The types. The zero value, [AnyValue], stands for a rule without appraise_type=.
const (
	AnyValue       AppraiseType = ""              // a digest is enough
	IMASig         AppraiseType = "imasig"        // a signature in security.ima
	IMASigOrModsig AppraiseType = "imasig|modsig" // that, or one that is appended to the file
	SigV3          AppraiseType = "sigv3"         // a signature of version 3 in security.ima
	SigV3OrModsig  AppraiseType = "sigv3|modsig"  // that, or an appended one; written as two words
)

// V3 reports whether a signature in security.ima must be of version 3.
func (t AppraiseType) V3() bool { return t == SigV3 || t == SigV3OrModsig }

// Modsig reports whether an appended signature is accepted.
func (t AppraiseType) Modsig() bool { return t == IMASigOrModsig || t == SigV3OrModsig }

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

// funcWords are the values of func=, old names included. Nothing writes to it.
var funcWords = [...]struct {
	text string // as written in a policy
	hook Func   // its meaning
}{
	{"FILE_CHECK", FileCheck}, {"PATH_CHECK", FileCheck}, {"MMAP_CHECK", MmapCheck}, {"FILE_MMAP", MmapCheck},
	{"MMAP_CHECK_REQPROT", MmapCheckReqProt}, {"BPRM_CHECK", BprmCheck}, {"CREDS_CHECK", CredsCheck}, {"MODULE_CHECK", ModuleCheck},
	{"FIRMWARE_CHECK", FirmwareCheck}, {"POLICY_CHECK", PolicyCheck}, {"KEXEC_KERNEL_CHECK", KexecKernelCheck},
	{"KEXEC_INITRAMFS_CHECK", KexecInitramfsCheck}, {"KEXEC_CMDLINE", KexecCmdline}, {"KEY_CHECK", KeyCheck}, {"CRITICAL_DATA", CriticalData},
	{"SETXATTR_CHECK", SetxattrCheck},
}
