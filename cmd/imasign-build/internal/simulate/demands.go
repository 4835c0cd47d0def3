package simulate

import "github.com/imasign/imasign-build/internal/policy"

// demands are what a rule demands of a file: IMA_DIGSIG_REQUIRED, IMA_VERITY_REQUIRED,
// IMA_SIGV3_REQUIRED and IMA_MODSIG_ALLOWED of the kernel's security/integrity/ima/ima.h.
type demands struct {
	signature bool // not just a digest
	verity    bool // of an fs-verity digest, not of the content
	version3  bool
	modsig    bool // or an appended signature
}

func demandsOf(r *policy.Rule) demands {
	return demands{
		signature: r.AppraiseType != policy.AnyValue, verity: r.Verity, version3: r.AppraiseType.V3(), modsig: r.AppraiseType.Modsig(),
	}
}

// with adds the demands of another rule.
func (d demands) with(o demands) demands {
	return demands{d.signature || o.signature, d.verity || o.verity, d.version3 || o.version3, d.modsig || o.modsig}
}

// remembered corrects the verdict of a rule by the other rules that cover the file.
// process_measurement (security/integrity/ima/ima_main.c) adds the demands of each rule to
// the inode, where they stay until its attributes are changed or it is dropped from memory.
// So a file that one rule accepts is refused by it after another one was tried, and the
// reverse. What was accepted before stays accepted.
func (s *simulation) remembered(q *question, v *verdict) {
	for i := range q.sub.verdicts {
		other := &q.sub.verdicts[i]
		after := *q
		after.demands = q.demands.with(demandsOf(other.rule))
		if after.demands == q.demands {
			continue
		}
		r := s.refusal(&after)
		switch {
		case v.refusal.passes() && !r.passes():
			v.refusal = depends(r.cause, "%s, once the kernel has tried the rule of line %d on it", r.reason, other.rule.Line)
			return
		case !v.refusal.passes() && v.refusal.certain && (r.passes() || !r.certain):
			v.refusal.certain = false
		}
	}
}
