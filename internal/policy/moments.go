package policy

// access is how a file is opened: the kernel's MAY_ bits.
type access uint8

const (
	accessExec access = 1 << iota
	accessWrite
	accessRead
	accessAppend
)

func (m Mask) access() access {
	switch m {
	case MayExec:
		return accessExec
	case MayWrite:
		return accessWrite
	case MayRead:
		return accessRead
	}
	return accessAppend
}

// moment is an occasion on which the kernel searches its policy: a call of ima_match_policy
// with a func and an access.
type moment struct {
	hook   Func
	access access
}

// allMoments are all such occasions, from the kernel's ima_main.c. The access of an opened file
// is what build_open_flags makes of the flags of open. It is never only MAY_APPEND. For
// execution it is only MAY_EXEC. Nothing writes to it.
var allMoments = [...]moment{
	{FileCheck, accessRead}, {FileCheck, accessWrite}, {FileCheck, accessRead | accessWrite},
	{FileCheck, accessRead | accessAppend}, {FileCheck, accessWrite | accessAppend}, {FileCheck, accessRead | accessWrite | accessAppend},
	{FileCheck, accessExec},
	{MmapCheck, accessExec}, {MmapCheckReqProt, accessExec}, {BprmCheck, accessExec}, {CredsCheck, accessExec},
	{ModuleCheck, accessRead}, {FirmwareCheck, accessRead}, {PolicyCheck, accessRead},
	{KexecKernelCheck, accessRead}, {KexecInitramfsCheck, accessRead},
	{KexecCmdline, 0}, {KeyCheck, 0}, {CriticalData, 0},
}

// moments is a set of moments, with a bit for each.
type moments uint32

// momentsOf returns the set of moments for which holds returns true.
func momentsOf(holds func(moment) bool) moments {
	var set moments
	for i, m := range allMoments {
		if holds(m) {
			set |= 1 << i
		}
	}
	return set
}

// moments returns the moments at which a rule can match.
func (r *Rule) moments() moments {
	if !r.someoneMatches() {
		return 0
	}
	return momentsOf(func(m moment) bool {
		buffer := m.hook == KeyCheck || m.hook == CriticalData
		switch {
		case r.Func != m.hook && (r.Func != AnyFunc || buffer):
			return false
		case r.Mask == "":
			return true
		case r.AnyOf:
			return r.Mask.access()&m.access != 0
		}
		return r.Mask.access() == m.access
	})
}

// someoneMatches reports false if no id can meet a condition, such as uid<0.
func (r *Rule) someoneMatches() bool {
	for _, id := range []*ID{r.UID, r.GID, r.FOwner, r.FGroup} {
		if _, _, ok := id.bounds(); !ok {
			return false
		}
	}
	return true
}

// asks returns the moments of these funcs.
func asks(hooks ...Func) moments {
	return momentsOf(func(m moment) bool {
		for _, hook := range hooks {
			if m.hook == hook {
				return true
			}
		}
		return false
	})
}

// writes returns the moments at which a file is opened for writing.
func writes() moments {
	return momentsOf(func(m moment) bool { return m.hook == FileCheck && m.access&accessWrite != 0 })
}
