package policy

import (
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/finding"
)

// judge collects the risks of a policy.
type judge struct {
	rules    []*Rule
	target   Target
	findings []finding.Finding
}

func risks(rules []*Rule, t Target) []finding.Finding {
	j := &judge{rules: rules, target: t}
	for i, rule := range rules {
		j.measuring(rule)
		j.appraising(rule)
		j.excepting(rule, rules[i+1:])
		j.pseudo(rule, rules[:i])
	}
	j.policyCheck()
	j.gaps()
	j.measurements()
	j.configuration()
	j.versionThree()
	return j.findings
}

func (j *judge) add(r *Rule, rule string, severity finding.Severity, format string, args ...any) {
	line := 0
	if r != nil {
		line = r.Line
	}
	j.findings = append(j.findings, newFinding(rule, severity, line, 0, format, args...))
}

// first returns the first rule with this action that can match at one of the moments.
func (j *judge) first(action Action, when moments) *Rule {
	i := slices.IndexFunc(j.rules, func(r *Rule) bool { return r.Action == action && r.moments()&when != 0 })
	if i < 0 {
		return nil
	}
	return j.rules[i]
}

// byFile returns the moments of the funcs for files that any user may have made.
func byFile() moments { return asks(FileCheck, MmapCheck, MmapCheckReqProt, BprmCheck, CredsCheck) }

func (i *ID) onlyRoot() bool {
	_, high, ok := i.bounds()
	return ok && high == 0
}

func (j *judge) measuring(r *Rule) {
	if r.Action != Measure {
		return
	}
	if r.moments()&byFile() != 0 && r.anywhere() && !r.FOwner.onlyRoot() && !r.UID.onlyRoot() {
		j.add(r, RuleEventLog, finding.Warn, "measures files that any user can make and run: each new content is an entry in kernel memory until the next boot, and users can make any number of them; fowner=0 or uid=0 limits them")
	}
	if r.PCR == nil {
		return
	}
	switch pcr := *r.PCR; {
	case pcr >= 24:
		j.add(r, RulePCR, finding.Warn, "pcr=%d: a TPM has PCRs 0 to 23; the kernel accepts the rule, but cannot extend the PCR", pcr)
	case pcr == 16 || pcr == 23:
		j.add(r, RulePCR, finding.Warn, "pcr=%d can be reset by user space: its value proves nothing", pcr)
	case pcr != 10:
		j.add(r, RulePCR, finding.Warn, "pcr=%d belongs to the firmware, the boot loader or systemd, and disk keys (LUKS) are sealed to such PCRs: measurements extend it in the order of file accesses, which differs at each boot, so the keys cannot be unsealed", pcr)
	}
}

func (j *judge) appraising(r *Rule) {
	if r.Action != Appraise {
		return
	}
	j.digest(r)
	j.writing(r)
	if r.DirectIO {
		j.add(r, RuleDirectIO, finding.Warn, "permit_directio: a program that opens a file with O_DIRECT gets it even if its appraisal fails")
	}
	switch r.Func {
	case ModuleCheck:
		if c := j.target.Config; c == nil || !c.Builtin("CONFIG_MODULE_SIG_FORCE") {
			j.add(r, RuleModuleLoading, finding.Note, "init_module gets EACCES from now on (unless module.sig_enforce is on): modules must be loaded by finit_module, and the kernel must unpack compressed modules (CONFIG_MODULE_DECOMPRESS)")
		}
	case FirmwareCheck:
		j.add(r, RuleFirmware, finding.Note, "firmware that user space writes to /sys/class/firmware is refused from now on")
	case KexecKernelCheck:
		j.add(r, RuleKexec, finding.Note, "kexec_load gets EACCES from now on: kexec must use kexec_file_load")
	}
	switch r.Func {
	case ModuleCheck, FirmwareCheck, PolicyCheck, KexecKernelCheck, KexecInitramfsCheck:
		if r.UID != nil {
			j.add(r, RuleUsers, finding.Warn, "%s depends on capabilities, not on being root: the rule does not cover a process that has the capability, but another id; leave out the condition on uid or euid", r.Func)
		}
	case BprmCheck, MmapCheck, MmapCheckReqProt, CredsCheck:
		if r.UID.onlyRoot() {
			j.add(r, RuleUsers, finding.Note, "programs that other users than root run are not appraised")
		}
	}
}

// digest warns of appraisal without a signature.
func (j *judge) digest(r *Rule) {
	if r.AppraiseType != AnyValue || r.Func == SetxattrCheck {
		return
	}
	severity := finding.Warn
	switch r.Func {
	case PolicyCheck, ModuleCheck, KexecKernelCheck, KexecInitramfsCheck:
		severity = finding.Error
	}
	j.add(r, RuleDigest, severity, "no appraise_type=imasig: a digest in security.ima is enough, and anybody who can write the file and its attributes can make one; only EVM's HMAC prevents that")
}

// writing warns of rules that apply when files are opened for writing, or that refuse files
// that a running system makes.
func (j *judge) writing(r *Rule) {
	if r.onReadOnly() || r.moments()&asks(FileCheck) == 0 {
		return
	}
	if r.moments()&writes() != 0 {
		j.add(r, RuleUnwritable, finding.Warn, "applies when a file is opened for writing: a file with a signature gets EACCES then; use mask=MAY_EXEC or MAY_READ, or another func, to allow writing")
	}
	if r.AppraiseType != AnyValue {
		j.add(r, RuleFreeze, finding.Warn, "requires signatures of files that are opened: files that the device has written (logs, state, caches) get EACCES when they are opened again; restrict the rule to the signed file system by fsuuid= or fsname=")
	}
}

// excepting warns of exceptions that exempt more than they seem to.
func (j *judge) excepting(r *Rule, later []*Rule) {
	if r.Action != DontAppraise {
		return
	}
	if r.Func != AnyFunc && j.target.Version.Before(6, 1) {
		j.add(r, RuleDropsXattr, finding.Error, "in kernels before 6.1, chmod, chown and touch of a matching file remove its security.ima, whatever func the rule has: the file is then refused wherever it is appraised")
	}
	code := r.moments() & asks(BprmCheck, MmapCheck, MmapCheckReqProt)
	for _, f := range []fileSystem{{"tmpfs", 0x01021994}, {"ramfs", 0x858458f6}} {
		if code != 0 && f.names(r) && slices.ContainsFunc(later, func(l *Rule) bool { return l.Action == Appraise && l.moments()&code != 0 && l.meets(r) }) {
			j.add(r, RuleExempt, finding.Warn, "programs on %s run without appraisal, because the exception comes before the rules for them: exempt only func=FILE_CHECK, or mount it noexec", f.name)
		}
	}
}

// pseudo warns of rules for files of the kernel's own file systems, which have no security.ima.
func (j *judge) pseudo(r *Rule, earlier []*Rule) {
	except := map[Action]Action{Appraise: DontAppraise, Measure: DontMeasure}[r.Action]
	open := r.moments() & asks(FileCheck)
	if except == "" || open == 0 || !r.FOwner.has(0) || !r.UID.has(0) {
		return
	}
	all, vital := pseudo()
	if !r.anywhere() {
		j.named(r, earlier, all, vital)
		return
	}
	severity := finding.Warn
	var missing []string
	for _, f := range all {
		excepted := slices.ContainsFunc(earlier, func(e *Rule) bool {
			if e.Action != except || !f.names(e) || e.moments()&open != open {
				return false
			}
			bare := *e
			bare.FSName, bare.FSMagic = "", nil
			return bare.covers(r)
		})
		if excepted || r.Action == Measure && f.name == "ramfs" { // the kernel's built-in policy measures it too
			continue
		}
		missing = append(missing, f.name)
		if r.Action == Appraise && slices.Contains(vital, f.name) {
			severity = finding.Error
		}
	}
	list := strings.Join(missing, ", ")
	switch {
	case missing == nil:
	case severity == finding.Error:
		j.add(r, RulePseudo, severity, "no %s before it for %s: their files have no security.ima and get EACCES, and the device does not boot", except, list)
	case r.Action == Appraise:
		j.add(r, RulePseudo, severity, "no %s before it for %s: their files have no security.ima and get EACCES", except, list)
	default:
		j.add(r, RulePseudo, severity, "no %s before it for %s: their files change all the time, and each new content is an entry in kernel memory", except, list)
	}
}

// named warns of rules that name one of these file systems.
func (j *judge) named(r *Rule, earlier []*Rule, all []fileSystem, vital []string) {
	excepted := func(e *Rule) bool { return e.Action == DontAppraise && e.covers(r) }
	if r.Action != Appraise || r.FSUUID != nil || len(r.Labels) > 0 || slices.ContainsFunc(earlier, excepted) {
		return
	}
	for _, f := range all {
		switch {
		case !f.names(r):
		case f.name != "tmpfs" && f.name != "ramfs" && slices.Contains(vital, f.name):
			j.add(r, RulePseudo, finding.Error, "appraises files of %s, which have no security.ima and get EACCES: the device does not boot", f.name)
		default:
			j.add(r, RulePseudo, finding.Warn, "appraises files of %s, which are made without security.ima and get EACCES", f.name)
		}
	}
}
