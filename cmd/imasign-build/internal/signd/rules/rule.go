package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// Rule says what some requesters may sign with some keys.
type Rule struct {
	// Name is in refusals, in the log, and what the quota is counted by.
	Name string
	// Keys and Requesters are names of the configuration. Neither may be empty.
	Keys, Requesters []string
	// Hashes are the algorithms of the digests. Without any, every hash is allowed that new
	// signatures are made over; see [ima.HashID.CheckSigns].
	Hashes []ima.HashID
	// Forms are the forms of the signatures. There must be one.
	Forms []ima.Form
	// Batch is how many digests a request has at most; 0 means [protocol.MaxDigests].
	Batch int
	// Quota is how many digests each requester may sign on one UTC day; 0 means any number.
	Quota int64
	// Header, unless nil, grants only digests of files in a package whose signed header comes
	// with the request.
	Header *pkgheader.Checker
	// Approved, unless nil, grants only digests in manifests that people have approved.
	Approved *Approved
}

// check returns an error for a rule that is incomplete, or that no request can match.
func (r *Rule) check() error {
	switch {
	case protocol.CheckName(r.Name) != nil:
		return r.fault("its name must have 1 to %d letters, digits, dots, underscores and hyphens, and not begin with a dot or hyphen", protocol.MaxName)
	case r.Batch < 0, r.Batch > protocol.MaxDigests:
		return r.fault("batch %d: must be 1 to %d", r.Batch, protocol.MaxDigests)
	case r.Quota < 0:
		return r.fault("quota %d: must not be negative", r.Quota)
	}
	if err := errors.Join(r.checkNames("key", r.Keys), r.checkNames("requester", r.Requesters)); err != nil {
		return err
	}
	for _, h := range r.Hashes {
		if err := h.CheckSigns(); err != nil {
			return r.fault("%w", err)
		}
	}
	if len(r.Forms) == 0 {
		return r.fault("it names no form")
	}
	for _, f := range r.Forms {
		if known, err := protocol.FormOf(uint8(f.Type), f.Version); err != nil || known != f {
			return r.fault("no signatures have the form %+v", f)
		}
		if r.Header != nil && f.Over != ima.Content {
			return r.fault("package headers have no %s of files", f.Over)
		}
	}
	return r.checkApproved()
}

func (r *Rule) checkNames(what string, names []string) error {
	if len(names) == 0 {
		return r.fault("it names no %s", what)
	}
	for i, name := range names {
		if name == "" || slices.Contains(names[:i], name) {
			return r.fault("%s %q is empty or repeated", what, name)
		}
	}
	return nil
}

func (r *Rule) fault(format string, args ...any) error {
	return fmt.Errorf("rule %q: "+format, append([]any{r.Name}, args...)...)
}

// concerns reports whether the rule is about this requester and this key.
func (r *Rule) concerns(requester, key string) bool {
	return slices.Contains(r.Keys, key) && slices.Contains(r.Requesters, requester)
}
