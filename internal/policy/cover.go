package policy

import "slices"

// covers reports whether every file and process that meets o's conditions also meets r's. It
// ignores func and mask, which moments compares.
func (r *Rule) covers(o *Rule) bool {
	return coversValue(r.FSMagic, o.FSMagic) && coversValue(r.FSUUID, o.FSUUID) &&
		(r.FSName == "" || r.FSName == o.FSName) && (r.FSSubtype == "" || r.FSSubtype == o.FSSubtype) &&
		r.UID.covers(o.UID) && r.GID.covers(o.GID) && r.FOwner.covers(o.FOwner) && r.FGroup.covers(o.FGroup) &&
		r.coversLabels(o) && coversList(r.Keyrings, o.Keyrings) && coversList(r.Data, o.Data)
}

func coversValue[T comparable](r, o *T) bool { return r == nil || o != nil && *r == *o }

func coversList(r, o []string) bool {
	return r == nil || o != nil && !slices.ContainsFunc(o, func(name string) bool { return !slices.Contains(r, name) })
}

func (r *Rule) coversLabels(o *Rule) bool {
	for label, value := range r.Labels {
		if other, ok := o.Labels[label]; !ok || other != value {
			return false
		}
	}
	return true
}

func (i *ID) covers(o *ID) bool {
	if i == nil {
		return true
	}
	low, high, ok := i.bounds()
	otherLow, otherHigh, otherOK := o.bounds()
	within := ok && otherOK && low <= otherLow && otherHigh <= high
	if o == nil {
		return within
	}
	return within && i.Effective == o.Effective
}

// meets reports whether a file and a process can meet the conditions of both rules.
func (r *Rule) meets(o *Rule) bool {
	return r.meetsFile(o) && r.UID.meets(o.UID) && r.GID.meets(o.GID) && r.meetsLabels(o, SubjUser, SubjRole, SubjType)
}

// meetsFile reports whether a file can meet the conditions of both rules, with any processes.
func (r *Rule) meetsFile(o *Rule) bool {
	return meetsValue(r.FSMagic, o.FSMagic) && meetsValue(r.FSUUID, o.FSUUID) &&
		(r.FSName == "" || o.FSName == "" || r.FSName == o.FSName) &&
		(r.FSSubtype == "" || o.FSSubtype == "" || r.FSSubtype == o.FSSubtype) &&
		r.FOwner.meets(o.FOwner) && r.FGroup.meets(o.FGroup) && r.meetsLabels(o, ObjUser, ObjRole, ObjType)
}

func meetsValue[T comparable](r, o *T) bool { return r == nil || o == nil || *r == *o }

func (r *Rule) meetsLabels(o *Rule, labels ...Label) bool {
	for _, label := range labels {
		value, ok := r.Labels[label]
		if other, both := o.Labels[label]; ok && both && other != value {
			return false
		}
	}
	return true
}

func (i *ID) meets(o *ID) bool {
	if i == nil || o == nil || i.Effective != o.Effective {
		return true // a process's real and effective ids are independent
	}
	low, high, ok := i.bounds()
	otherLow, otherHigh, otherOK := o.bounds()
	return ok && otherOK && low <= otherHigh && otherLow <= high
}

// demandsAs reports whether two rules of one class do the same with a file.
func (r *Rule) demandsAs(o *Rule) bool {
	return r.Action == o.Action && r.AppraiseType == o.AppraiseType && r.Verity == o.Verity && slices.Equal(r.Algorithms, o.Algorithms) &&
		r.Template == o.Template && coversValue(r.PCR, o.PCR) && coversValue(o.PCR, r.PCR) && r.DirectIO == o.DirectIO
}

// weaker reports whether r accepts files that o refuses.
func (r *Rule) weaker(o *Rule) bool {
	return r.Action == Appraise && o.Action == Appraise && r.AppraiseType == AnyValue && o.AppraiseType != AnyValue
}
