package signing

import (
	"context"
	"slices"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Status is what happens to an entry, or to one of its xattrs.
type Status uint8

// The statuses. If the values of a Record differ in status, the last of these counts.
const (
	Skipped   Status = iota // keeps its values, for the entry's Reason
	Unchanged               // has the right value already
	Hashed                  // gets a new digest without a signature
	Signed                  // gets a new signature
	Stripped                // loses its values
)

// String returns the status as a stable word, such as "signed".
func (s Status) String() string {
	return [...]string{"skipped", "unchanged", "hashed", "signed", "stripped"}[s]
}

// changes reports whether attaching changes the xattr.
func (s Status) changes() bool { return s > Unchanged }

// Value is what happens to one xattr of an entry.
type Value struct {
	Form   ima.Form
	Status Status
	// Bytes is the xattr's value after the plan is attached. It is nil if the xattr is
	// removed, and for a signature that was planned without a key.
	Bytes []byte

	replaced replacing // the kind of value that this one replaces; not spooled
	cached   bool      // a cache or a manifest had the signature; not spooled
}

// Record is one line of a plan: an entry, and its values in the order of the stages.
type Record struct {
	_ struct{} `cbor:",toarray"`
	Entry
	Values []Value

	offset int64 // in the spool, in bytes
}

// Status returns the status of the whole record: the highest status of its values.
func (r *Record) Status() Status {
	s := Skipped
	for i := range r.Values {
		s = max(s, r.Values[i].Status)
	}
	return s
}

// Pending reports whether attaching the record changes anything. It reports false for the
// further names of a hard link, because the values are attached to the first name.
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

// ByXattr returns the bytes of the record's values by the name of the xattr. They are nil
// for an xattr that is removed.
func (r *Record) ByXattr() map[string][]byte {
	values := make(map[string][]byte, len(r.Values))
	for _, v := range r.Values {
		values[v.Form.Xattr] = v.Bytes
	}
	return values
}

// Final returns the value of an xattr after the plan is attached, or nil if it has none.
func (r *Record) Final(xattr string) []byte {
	for i := range r.Values {
		if r.Values[i].Form.Xattr == xattr {
			return r.Values[i].Bytes
		}
	}
	return r.Xattrs[xattr]
}

// replaced reports whether a new value of the record replaces a value of this kind.
func (r *Record) replaced(what replacing) bool {
	for i := range r.Values {
		if v := &r.Values[i]; v.replaced == what && (v.Status == Signed || v.Status == Hashed) {
			return true
		}
	}
	return false
}

// cached reports whether no signature of the record had to be made.
func (r *Record) cached() bool {
	return !slices.ContainsFunc(r.Values, func(v Value) bool { return v.Status == Signed && !v.cached })
}

// Change is a prepared attachment of a plan. Everything that can be refused was checked,
// and nothing is changed yet.
type Change struct {
	// Any reports whether Commit changes anything.
	Any bool
	// Grows is the number of bytes by which the container grows; negative if it shrinks.
	Grows int64
	// Commit makes the whole change or, if it fails, none of it. It is nil if there is
	// nothing to change.
	Commit func(ctx context.Context) error
}
