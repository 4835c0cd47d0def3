package simulate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// judgeAll lets the engine verify the files, and judges each by its rules.
func (s *simulation) judgeAll(ctx context.Context, engine *signing.Engine) error {
	byPath := map[string]*subject{}
	for _, sub := range s.subjects {
		byPath[sub.node.Path] = sub
	}
	return engine.Verify(ctx, source{s}, signing.Trust{Ring: s.Trusted, EVM: s.EVM, AsKernel: true}, func(v signing.Verdict) error {
		sub := byPath[v.Path]
		if len(sub.verdicts) == 0 {
			return nil
		}
		_, sub.evm = v.Xattrs[ima.XattrEVM]
		f, err := s.valueOf(v)
		if err == nil {
			sub.covered = f.covered
			s.judge(sub, f)
		}
		return err
	})
}

// source lists the regular files for the engine. Each name of a hard link is a file of
// its own, as the kernel's questions depend on names.
type source struct{ *simulation }

func (s source) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for _, sub := range s.subjects {
			n := &sub.node
			if !n.Mode.IsRegular() {
				continue
			}
			entry := signing.Entry{Path: n.Path, Mode: n.Mode, UID: n.UID, GID: n.GID, Size: n.Size}
			entry.Open = func(context.Context) (*signing.File, error) { return s.open(sub) }
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// open determines the kind of a file and the rules that cover it. A file that no rule
// covers needs no digest.
func (s *simulation) open(sub *subject) (*signing.File, error) {
	content, err := sub.node.Open()
	if err != nil {
		return nil, err
	}
	xattrs, err := s.examine(sub, content)
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return &signing.File{ReadCloser: content, Xattrs: xattrs}, nil
}

// examine returns the xattrs of a file that rules cover.
func (s *simulation) examine(sub *subject, f Content) (xattrs map[string][]byte, err error) {
	if sub.kind, err = kindOf(f, &sub.node); err != nil {
		return nil, err
	}
	if sub.verdicts = s.asked(sub); len(sub.verdicts) == 0 {
		return nil, signing.Unselected{Reason: "no rule is about it"}
	}
	return f.Xattrs()
}

// found describes a file's security.ima.
type found struct {
	has  bool
	kind ima.Type
	hash ima.HashID
	by   string // algorithm of the key of a valid signature
	err  error  // nil for a valid signature
	// covered says that it is the right digest and that a signature in security.evm covers it.
	covered bool
	evm     metadata
}

// tooNew returns an error for a signature of version 3 that the kernel does not verify. (It
// verifies those over fs-verity digests longer, and the engine does not verify them.)
func (s *simulation) tooNew(f ima.Form) error {
	if f.Version == 3 && f.Type != ima.TypeVerity && s.Kernel.Version.Before(7, 1) {
		return fmt.Errorf("%w: 3 in a value of type %s, which Linux verifies since 7.1", ima.ErrUnsupportedVersion, f.Type)
	}
	return nil
}

// valueOf picks what the engine says about security.ima.
func (s *simulation) valueOf(v signing.Verdict) (found, error) {
	raw := v.Xattrs[ima.XattrIMA]
	if len(raw) == 0 {
		return found{}, nil
	}
	i := slices.IndexFunc(v.Values, func(j signing.Judged) bool { return j.Form.Xattr == ima.XattrIMA })
	if i < 0 {
		return found{}, fmt.Errorf("%s: the engine does not verify %s", quote.Name(v.Path), ima.XattrIMA)
	}
	judged := v.Values[i]
	f := found{
		has: true, kind: ima.Type(raw[0]), err: judged.Err, evm: s.metadataOf(v),
		covered: judged.Err == nil && judged.Outcome == signing.HashedOK,
	}
	value, err := ima.Parse(raw)
	if err != nil {
		return f, nil //nolint:nilerr // it is the engine's verdict, too
	}
	f.hash = value.Hash
	_, computable := value.Hash.CryptoHash()
	switch {
	case s.tooNew(judged.Form) != nil:
		f.err = s.tooNew(judged.Form)
	case !computable:
		f.err = ima.ErrUnsupportedHash
	case judged.Key != nil:
		f.by = judged.Key.Algorithm()
	}
	return f, nil
}
