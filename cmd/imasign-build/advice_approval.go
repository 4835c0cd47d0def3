package main

import "github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"

// approvalCauses are those of approvals for a signing service.
func approvalCauses() []cause {
	return []cause{
		{err: approval.ErrUnsupported, kind: "unsupported", advice: "--form and --hash choose what is approved"},
		{err: approval.ErrSignature, kind: "key", advice: "--cert names the certificate of --key"},
		{err: errNothingCovered, kind: "mismatch", advice: "--form chooses what is approved"},
		{err: errNoServiceKey, kind: "key", advice: "--for-key takes the certificate or the public key of the service's key, in PEM or DER"},
		{err: errDeclined, kind: "refused"},
	}
}
