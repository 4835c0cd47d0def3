package signing

import "github.com/imasign/imasign-build/pkg/ima"

// claimOf says what the digest of a value of form f is of. before are the entry's values of
// the stages before.
func claimOf(e *Entry, f ima.Form, before []Value) ima.Claim {
	c := ima.Claim{Origin: e.Origin, Path: e.Path}
	if f.Over != ima.Metadata {
		return c
	}
	c.IMA = e.Xattrs[ima.XattrIMA]
	for _, v := range before {
		if v.Form.Xattr == ima.XattrIMA {
			c.IMA = v.Bytes
		}
	}
	return c
}

func claimsOf(slots []*slot) []ima.Claim {
	claims := make([]ima.Claim, len(slots))
	for i, s := range slots {
		claims[i] = s.claim
	}
	return claims
}
