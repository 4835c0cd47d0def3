package certs

import (
	"crypto/x509"
	"slices"

	"github.com/imasign/imasign-build/internal/finding"
)

// Demands say where a device accepts only version 3 signatures.
type Demands struct {
	IMA bool // under a rule with appraise_type=sigv3
	EVM bool // with bit 3 of EVM
}

// CheckTrusted returns the warnings of [CheckPurposes] and [CheckVersion3] about the keys
// that a device trusts: the certificates in its .ima and .evm keyrings.
func CheckTrusted(inIMA, inEVM []*x509.Certificate, d Demands) []finding.Finding {
	list := CheckPurposes(inIMA, inEVM)
	if d.IMA {
		list = slices.Concat(list, CheckVersion3(inIMA))
	}
	if d.EVM {
		list = slices.Concat(list, CheckVersion3(inEVM))
	}
	var once []finding.Finding
	for _, f := range list { // a key may be in both keyrings
		if !slices.ContainsFunc(once, func(o finding.Finding) bool { return o.Same(&f) }) {
			once = append(once, f)
		}
	}
	return once
}
