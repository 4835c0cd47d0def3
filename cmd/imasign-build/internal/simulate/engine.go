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
	return engine.Verify(ctx, source{s}, signing.Trust{Ring: s.Trusted, EVM: s.EVM, AsKernel: true, Verity: s.Verity}, func(v signing.Verdict) error {
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
	header
	by  string // algorithm of the key of a valid signature
	err error  // nil for a valid signature
	// covered says that it is the right digest and that a signature in security.evm covers it.
	covered bool
	evm     metadata
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
		has: true, kind: ima.Type(raw[0]), header: headerOf(raw, ima.XattrIMA), err: judged.Err, evm: s.metadataOf(v),
		covered: judged.Err == nil && judged.Outcome == signing.HashedOK,
	}
	if _, computable := f.hash.CryptoHash(); f.parsed && !computable {
		f.err = ima.ErrUnsupportedHash
	}
	if judged.Key != nil {
		f.by = judged.Key.Algorithm()
	}
	return f, nil
}

// header is what a value says about itself.
type header struct {
	version uint8 // of a signature
	parsed  bool  // the kernel can read all of it; otherwise hash and form are zero
	hash    ima.HashID
	form    ima.Form
}

// headerOf reads the value of an xattr. The kernel looks at the version of signatures that
// it cannot read.
func headerOf(raw []byte, xattr string) (h header) {
	switch ima.Type(raw[0]) {
	case ima.TypeSignature, ima.TypeVerity, ima.TypeEVMPortable:
		if h.version = 2; len(raw) > 1 {
			h.version = raw[1]
		}
	}
	if value, err := ima.Parse(raw); err == nil {
		h.parsed, h.hash, h.form = true, value.Hash, value.Form(xattr)
	}
	return h
}
