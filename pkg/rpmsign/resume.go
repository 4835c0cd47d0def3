package rpmsign

import (
	"bytes"
	"context"
	"slices"
)

// Resume is Run for a unit whose Output an interrupted run may have written. What
// that one signed is checked like any signed package and stays; where another key or
// other options are in use by now, the package is signed anew.
func (s *Signing) Resume(ctx context.Context, u Unit) Result {
	if !s.resumable(u) {
		return s.Run(ctx, u)
	}
	r := s.Run(ctx, Unit{Path: u.Output})
	if r.Err != nil && ctx.Err() == nil {
		return s.Run(ctx, u)
	}
	r.Unit = u
	return r
}

// resumable reports whether the output is the package but for what this Signing
// signs. A package that is missing or cannot be read is not.
func (s *Signing) resumable(u Unit) bool {
	out, err := Open(u.Output, Options{})
	if err != nil {
		return false
	}
	defer out.Close() //nolint:errcheck // opened for reading
	in, err := Open(u.Path, Options{})
	if err != nil {
		return false // which Run will tell
	}
	defer in.Close() //nolint:errcheck // opened for reading
	ours := fileSignatureTags()
	if s.Options.OpenPGP != nil {
		ours = append(ours, openPGPTags()...)
	}
	return bytes.Equal(in.main.raw, out.main.raw) && in.size-in.payload == out.size-out.payload &&
		slices.EqualFunc(in.sig.kept(ours...), out.sig.kept(ours...), value.equal)
}
