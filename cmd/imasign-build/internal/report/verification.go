package report

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Verdicts are the numbers of files by verdict.
type Verdicts struct {
	OK       int64 `json:"ok"`
	OKv3     int64 `json:"ok_version_3,omitempty"`
	Unsigned int64 `json:"unsigned"`
	Bad      int64 `json:"bad"`
	Hashed   int64 `json:"hashed"`
	Ignored  int64 `json:"ignored"`
}

func (n *Verdicts) count(j signing.Judged) {
	switch j.Outcome {
	case signing.OK:
		n.OK++
		if j.Form.Version == 3 {
			n.OKv3++
		}
	case signing.HashedOK:
		n.Hashed++
	case signing.Unsigned:
		n.Unsigned++
	case signing.Bad:
		n.Bad++
	case signing.Ignored:
		n.Ignored++
	}
}

func (n *Verdicts) sum(o Verdicts) {
	n.OK += o.OK
	n.OKv3 += o.OKv3
	n.Unsigned += o.Unsigned
	n.Bad += o.Bad
	n.Hashed += o.Hashed
	n.Ignored += o.Ignored
}

// ok returns the number of files whose signature is valid, and how many of them have version 3.
func (n *Verdicts) ok() string {
	switch n.OKv3 {
	case 0:
		return Count(n.OK) + " ok"
	case n.OK:
		return Count(n.OK) + " ok (version 3)"
	}
	return fmt.Sprintf("%s ok (%s of them version 3)", Count(n.OK), Count(n.OKv3))
}

// Judged is the number of files that were verified.
func (n *Verdicts) Judged() int64 { return n.OK + n.Hashed + n.Unsigned + n.Bad }

// Wrong reports whether any file is not as it must be.
func (n *Verdicts) Wrong() bool { return n.Unsigned+n.Bad > 0 }

// Verification is the result of verifying a tree, an archive or an image.
type Verification struct {
	Head
	Verdicts
	Entries []Verdict `json:"entries"`

	Of      string `json:"-"` // what was verified, as the user named it
	Verbose bool   `json:"-"` // every verdict is an entry, not only failures
}

// Verdict is the verdict on one file.
type Verdict struct {
	Path
	Status string `json:"status"` // "ok", "unsigned", "bad", "hashed", "ignored"; "failed" for a package that could not be read
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	KeyID  string `json:"key_id,omitempty"`

	SignatureVersion uint8  `json:"signature_version,omitempty"`
	SignatureOver    string `json:"signature_over,omitempty"`
}

// Take adds a verdict. The error is always nil; [signing.Engine] requires the result.
func (r *Verification) Take(v signing.Verdict) error {
	r.count(v.Judged)
	if r.Verbose || v.Outcome.Wrong() {
		r.Entries = append(r.Entries, verdict(v))
	}
	return nil
}

func verdict(v signing.Verdict) Verdict {
	e := Verdict{Path: PathOf(v.Path), Status: v.Outcome.String(), Reason: v.Reason, Detail: v.Reason}
	if v.Err != nil {
		e.Reason, e.Detail = reason(v.Err), v.Err.Error()
	}
	if v.KeyID != 0 {
		e.KeyID, e.SignatureVersion = v.KeyID.String(), v.Form.Version
		if v.Form.Over == ima.Verity {
			e.SignatureOver = v.Form.Over.String()
		}
	}
	return e
}

// reason returns a short phrase that does not change between versions, for scripts.
func reason(err error) string {
	switch {
	case errors.Is(err, signing.ErrUnsigned):
		return "unsigned"
	case errors.Is(err, signing.ErrMismatch):
		return "manifest mismatch"
	case errors.Is(err, signing.ErrOtherHash):
		return "other hash"
	case errors.Is(err, signing.ErrDoubleUse):
		return "double use"
	}
	return ima.Reason(err)
}

func (r *Verification) prepare(bool) error {
	if r.Entries == nil {
		r.Entries = []Verdict{}
	}
	return nil
}

func (r *Verification) text(p *printer) {
	for _, e := range r.Entries {
		detail := e.Detail
		if detail == "" && e.SignatureVersion == 3 {
			detail = "version 3"
			if e.SignatureOver != "" {
				detail += " over the " + e.SignatureOver
			}
		}
		p.entry(e.Status, e.raw, detail)
	}
	p.summary(r.Wrong(), "%s: %s, %s hashed, %s unsigned, %s bad\n", r.Of, r.ok(), Count(r.Hashed), Count(r.Unsigned), Count(r.Bad))
}
