package policy

import (
	"slices"
	"strings"
)

// Access is an access to a file by a process of root, for which the kernel searches its
// policy (ima_match_policy).
type Access struct {
	Func           Func
	Mask           Mask   // how the file is opened, with only this bit
	FOwner, FGroup uint32 // of the file
	FSName         string // of its file system, as in /proc/filesystems; "" if not known
}

// Answer says whether a rule matches, as far as that is known without the device.
type Answer int

// The answers.
const (
	No Answer = iota
	Maybe
	Yes
)

// Matches says whether a rule matches an access, as ima_match_rules does.
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

// MatchesRoot reports whether a process of root meets the rule's conditions on the process.
func (r *Rule) MatchesRoot() bool { return r.UID.has(0) && r.GID.has(0) }

// CanMatch reports whether the rule can match any access of one of the hooks.
func (r *Rule) CanMatch(hooks ...Func) bool { return r.moments()&asks(hooks...) != 0 }

// OnFileSystem says whether files on a file system of this name meet the rule's fsname=,
// fsmagic= and fs_subtype=. If the name is "", it is not known, and the file system is assumed to be on a
// disk: file systems whose files the kernel makes have no signatures.
func (r *Rule) OnFileSystem(name string) Answer {
	on := r.onKind(name)
	switch {
	case on == No || r.FSSubtype == "":
		return on
	case name == "" || strings.HasPrefix(name, "fuse"):
		return Maybe
	}
	return No // only FUSE sets a subtype
}

// onKind is OnFileSystem without fs_subtype=.
func (r *Rule) onKind(name string) Answer {
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
