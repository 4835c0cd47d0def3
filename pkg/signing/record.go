package signing

import (
	"context"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Status is what becomes of an entry, or of one of its xattrs.
type Status uint8

// The statuses of a Record, in the order in which one outweighs another.
const (
	Skipped   Status = iota // keeps what it has, for the entry's Reason
	Unchanged               // has the value it should have already
	Hashed                  // gets a new digest without a signature
	Signed                  // gets a new signature
	Stripped                // loses the values it has
)

// String returns the status as a stable word, such as "signed".
func (s Status) String() string {
	return [...]string{"skipped", "unchanged", "hashed", "signed", "stripped"}[s]
}

// changes reports whether attaching changes the xattr.
func (s Status) changes() bool { return s > Unchanged }

// Value is what becomes of one xattr of an entry.
type Value struct {
	Form   ima.Form
	Status Status
	// Bytes are what the xattr has once the plan is attached; nil where it is removed,
	// and for signatures that were planned without a key.
	Bytes []byte

	replaced replacing // what a new value takes the place of; not spooled
}

// Record is one line of a plan: an entry, and its values in the order of the stages.
type Record struct {
	_ struct{} `cbor:",toarray"`
	Entry
	Values []Value

	offset int64 // in the spool
}

// Status is the record's as a whole: that of the value that outweighs the others.
func (r *Record) Status() Status {
	s := Skipped
	for i := range r.Values {
		s = max(s, r.Values[i].Status)
	}
	return s
}

// Pending reports whether attaching the record changes anything. Other names of a
// hard link never do: their inode is attached to through one of them.
func (r *Record) Pending() bool { return r.Status().changes() && r.leads() }

// Changes returns the values that attaching changes.
func (r *Record) Changes() (list []Value) {
	for _, v := range r.Values {
		if v.Status.changes() {
			list = append(list, v)
		}
	}
	return list
}

// ByXattr returns the bytes of the record's values by xattr, nil for one that is removed.
func (r *Record) ByXattr() map[string][]byte {
	values := make(map[string][]byte, len(r.Values))
	for _, v := range r.Values {
		values[v.Form.Xattr] = v.Bytes
	}
	return values
}

// Final returns what the xattr has once the plan is attached, nil for nothing.
func (r *Record) Final(xattr string) []byte {
	for i := range r.Values {
		if r.Values[i].Form.Xattr == xattr {
			return r.Values[i].Bytes
		}
	}
	return r.Xattrs[xattr]
}

// replaced reports whether a new value of the record takes the place of such a one.
func (r *Record) replaced(what replacing) bool {
	for i := range r.Values {
		if v := &r.Values[i]; v.replaced == what && (v.Status == Signed || v.Status == Hashed) {
			return true
		}
	}
	return false
}

// Change is an attachment that was prepared: whatever can be refused was refused, and
// nothing is changed yet.
type Change struct {
	// Any reports whether committing changes anything.
	Any bool
	// Grows is how many bytes the container becomes longer, negative for shorter.
	Grows int64
	// Commit makes the change, whole or not at all. nil where there is none to make.
	Commit func(ctx context.Context) error
}
