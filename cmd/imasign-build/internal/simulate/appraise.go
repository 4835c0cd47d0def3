package simulate

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
)

// refusal says why a kernel would not let a file pass.
type refusal struct {
	reason  string // "" if the file passes
	cause   string // cause= of the kernel's audit record; "" if it writes none
	certain bool
}

// refused is a refusal that is certain. Reasons continue "the kernel refuses it:".
func refused(cause, format string, args ...any) refusal {
	return refusal{fmt.Sprintf(format, args...), cause, true}
}

// depends is a refusal in a case that is not known here.
func depends(cause, format string, args ...any) refusal {
	return refusal{fmt.Sprintf(format, args...), cause, false}
}

// pass lets a file pass.
func pass() refusal { return refusal{certain: true} }

func (r *refusal) passes() bool { return r.reason == "" }

// String returns the reason with the kernel's word for it.
func (r *refusal) String() string {
	if r.cause == "" {
		return r.reason
	}
	return r.reason + " (" + r.cause + ")"
}

// question is a rule that appraises a file, and when.
type question struct {
	rule    *policy.Rule
	hook    policy.Func
	demands demands
	sub     *subject
	found   *found
}

// judge completes the verdicts of the rules that cover a file.
func (s *simulation) judge(sub *subject, f found) {
	for i := range sub.verdicts {
		v := &sub.verdicts[i]
		q := question{v.rule, v.hook, demandsOf(v.rule), sub, &f}
		v.refusal = s.refusal(&q)
		s.remembered(&q, v)
		v.certain = v.certain && v.refusal.certain
	}
}

// refusal says why a rule would not let a file pass.
func (s *simulation) refusal(q *question) refusal {
	var unpacked refusal
	if k := &q.sub.kind; q.hook == policy.ModuleCheck && k.compressed != "" && q.rule.Func == policy.ModuleCheck {
		if unpacked = s.unpacked(k.compressed); !unpacked.passes() && unpacked.certain {
			return unpacked
		}
	}
	if r := s.value(q); !r.passes() || unpacked.passes() {
		return r
	}
	return unpacked
}

// value judges the xattrs of a file, as ima_appraise_measurement does.
func (s *simulation) value(q *question) refusal {
	f, d := q.found, q.demands
	appended := d.modsig && q.sub.kind.modsig &&
		(q.hook == policy.ModuleCheck || q.hook == policy.KexecKernelCheck || q.hook == policy.KexecInitramfsCheck)
	switch {
	case appended && (!f.has || f.kind == ima.TypeDigestNG || errors.Is(f.err, ima.ErrUnknownKey)):
		return pass() // counted as not checked
	case !f.has && d.signature && d.verity:
		return refused(causeVerity, "no security.ima")
	case !f.has && d.signature:
		return refused(causeSignature, "no security.ima")
	case !f.has:
		return refused("missing-hash", "no security.ima")
	}
	if r := s.protected(&f.evm); !r.passes() {
		return r
	}
	r := s.content(q)
	if h, known := s.digestedWith(f); r.passes() && known && q.rule.Algorithms != nil && !slices.Contains(q.rule.Algorithms, h) {
		return refused("denied-hash-algorithm", "%s is not among appraise_algos", h)
	}
	return r
}

// Causes that several functions give.
const (
	causeSignature = "IMA-signature-required"
	causeVerity    = "verity-signature-required"
	causeVersion   = "invalid-signature-version"
)

// content judges a security.ima that EVM lets pass, as xattr_verify does.
func (s *simulation) content(q *question) refusal {
	switch q.found.kind {
	case ima.TypeDigest, ima.TypeDigestNG:
		return s.digest(q)
	case ima.TypeSignature:
		return s.signature(q)
	case ima.TypeVerity:
		return s.verity(q)
	}
	return refused("unknown-ima-data", "%s", reasonOf(q.found.err))
}

// digest judges a digest without a signature. A portable signature in security.evm makes
// it as good as a signature, of any version.
func (s *simulation) digest(q *question) refusal {
	f, d := q.found, q.demands
	since := digestsUnderEVM()
	immutable := f.evm.judged && f.evm.kind == ima.TypeEVMPortable
	switch {
	case d.signature && d.verity && !immutable:
		return refused(causeVerity, "a digest and no signature")
	case d.signature && !immutable:
		return refused(causeSignature, "a digest and no signature")
	case d.signature && s.Kernel.Version.Older(since):
		return refused(causeSignature, "a digest and no signature: one in security.evm counts since Linux %s", since)
	case d.verity:
		return refused("invalid-hash", "a digest of the content, not of fs-verity")
	case errors.Is(f.err, ima.ErrUnsupportedHash):
		return depends("invalid-hash", "its %s digest cannot be computed here", f.hash)
	case f.err != nil && !errors.Is(f.err, ima.ErrHashOnly):
		return refused("invalid-hash", "%v", f.err)
	}
	return s.verifiable(ima.ContentDigest(), "", f.hash)
}

// signature judges a signature of the content.
func (s *simulation) signature(q *question) refusal {
	f, d := q.found, q.demands
	tooNew := s.unknownForm(ima.ContentSignature().V3(), causeVersion)
	switch {
	case d.signature && d.verity:
		return refused(causeVerity, "a signature of the content, not of an fs-verity digest")
	case f.version > 3:
		return refused(causeVersion, "%s", reasonOf(f.err))
	case f.version == 3 && tooNew != "":
		return refused(causeVersion, "%s", tooNew)
	case d.version3 && f.version != 3:
		return refused("IMA-sigv3-required", "a version %d signature, where version 3 is demanded", f.version)
	case f.version == 0:
		return refused("unknown", "%s", reasonOf(f.err))
	case errors.Is(f.err, ima.ErrUnsupportedHash):
		return depends("invalid-signature", "its %s digest cannot be computed here", f.hash)
	case f.err != nil:
		return refused("invalid-signature", "%v", f.err)
	}
	return s.verifiable(f.form, f.by, f.hash)
}

// verity judges a signature of an fs-verity digest. Whether fs-verity is enabled for the
// file on the device, and with which parameters, is not known.
func (s *simulation) verity(q *question) refusal {
	f, d := q.found, q.demands
	const unknown, invalid = "unknown-ima-data", "invalid-verity-signature"
	tooNew := s.unknownForm(ima.VeritySignature(), unknown)
	switch {
	case tooNew != "":
		return refused(unknown, "%s", tooNew)
	case d.signature && !d.verity:
		return refused(causeSignature, "a signature of an fs-verity digest, not of the content")
	case f.version != 3:
		return refused(causeVersion, "%s", reasonOf(f.err))
	case !d.verity:
		return refused(invalid, "a signature of an fs-verity digest, under a rule without digest_type=verity")
	case errors.Is(f.err, ima.ErrBadSignature), errors.Is(f.err, ima.ErrDigestMismatch):
		return depends(invalid, "%v", f.err) // other parameters may be right
	case f.err != nil:
		return refused(invalid, "%v", f.err)
	}
	s.assume("signatures over fs-verity digests need fs-verity enabled for the files on the device (no-verity-digest)")
	return s.verifiable(f.form, f.by, f.hash)
}

// reasonOf returns the reason of an error, and a reason if there is none because this program
// accepts what the kernel refuses.
func reasonOf(err error) string {
	if err == nil {
		return "a form that the kernel does not accept here"
	}
	return err.Error()
}

// unknownForm says why the kernel does not know a form of signatures, which it then refuses
// with a cause of its own; "" if it knows the form.
func (s *simulation) unknownForm(f ima.Form, cause string) string {
	for _, lack := range s.Kernel.Lacks(f, "", ima.SHA256) {
		if lack.Cause == cause && lack.When == kernel.Always {
			return lack.Reason
		}
	}
	return ""
}

// digestedWith returns the hash by which the kernel digests a file, and which it compares with
// appraise_algos (ima_get_hash_algo). It is not known if it is the kernel's default.
func (s *simulation) digestedWith(f *found) (h ima.HashID, known bool) {
	early := s.Kernel.Version == kernel.Version{Major: 7, Minor: 1} && f.kind == ima.TypeSignature && f.version == 3
	return f.hash, f.parsed && !early
}

// verifiable says whether the kernel has what it takes to verify a value that is right.
func (s *simulation) verifiable(form ima.Form, by string, h ima.HashID) refusal {
	r := pass()
	for _, lack := range s.Kernel.Lacks(form, by, h) {
		switch {
		case lack.When == kernel.Always:
			return refused(lack.Cause, "%s", lack.Reason)
		case lack.When == kernel.Sometimes && r.passes():
			r = depends(lack.Cause, "%s", lack.Reason)
		case lack.When == kernel.Assumed:
			s.assume(lack.Reason)
		}
	}
	return r
}

// assume notes that a verdict depends on something usual.
func (s *simulation) assume(reason string) {
	if !slices.Contains(s.assumed, reason) {
		s.assumed = append(s.assumed, reason)
	}
}
