package policy

import "slices"

// Access is a question that the kernel asks its policy (ima_match_policy): one of root's
// processes is about to use a file.
type Access struct {
	Func           Func
	Mask           Mask   // how the file is opened, with nothing else beside it
	FOwner, FGroup uint32 // of the file
	FSName         string // of its file system, as in /proc/filesystems; "" if it is not known
}

// Answer says whether a rule matches, as far as that can be known without the device.
type Answer int

// The answers.
const (
	No Answer = iota
	Maybe
	Yes
)

// Matches answers whether a rule is about an access, as ima_match_rules does.
func (r *Rule) Matches(a Access) Answer {
	asked := momentsOf(func(m moment) bool { return m == moment{a.Func, a.Mask.access()} })
	if r.moments()&asked == 0 || !r.MatchesRoot() || !r.FOwner.has(a.FOwner) || !r.FGroup.has(a.FGroup) {
		return No
	}
	on := r.OnFileSystem(a.FSName)
	if on == Yes && (len(r.Labels) > 0 || r.FSUUID != nil) {
		return Maybe
	}
	return on
}

// MatchesRoot reports whether the conditions on the process are met by root's.
func (r *Rule) MatchesRoot() bool { return r.UID.has(0) && r.GID.has(0) }

// CanMatch reports whether the rule matches anything at all that one of the hooks asks.
func (r *Rule) CanMatch(hooks ...Func) bool { return r.moments()&asks(hooks...) != 0 }

// OnFileSystem answers whether files on a file system of this name, "" if it is not
// known, meet the rule's fsname= and fsmagic=. What is not known is a disk's: those of
// which the kernel makes the files carry no signatures.
func (r *Rule) OnFileSystem(name string) Answer {
	if r.FSName == "" && r.FSMagic == nil {
		return Yes
	}
	all, _ := pseudo()
	switch {
	case name == "" && slices.ContainsFunc(all, func(f fileSystem) bool { return f.names(r) }):
		return No
	case name == "":
		return Maybe
	case r.FSName != "" && r.FSName != name:
		return No
	case r.FSMagic == nil:
		return Yes
	}
	for _, f := range slices.Concat(all, readOnly(), writable()) {
		if f.name == name {
			if f.magic == *r.FSMagic {
				return Yes
			}
			return No
		}
	}
	return Maybe
}
