package kernel

import (
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Lack is a reason why a kernel cannot verify a valid signature.
type Lack struct {
	Reason string // such as "version 3 signatures of files are verified since Linux 7.1"
	Cause  string // cause= of the kernel's audit record
	When   When
}

// When says which kernels of a [Profile] lack something.
type When uint8

// The answers.
const (
	Always    When = iota // all of them
	Sometimes             // some of them, or until a module is loaded
	Assumed               // those whose configuration, which is not known, lacks a usual symbol
)

// need is what a kernel must have to verify a kind of signature.
type need struct {
	what   string  // the signatures
	since  Version // the first release that verifies them
	name   string  // of what the configuration may lack
	symbol string  // of the configuration; "" if it depends on none
	cause  string
}

// Lacks returns the reasons why a kernel cannot verify signatures of a form over digests by h,
// by keys of an algorithm (ima.PublicKey.Algorithm). The first reason that always holds gives
// the cause that the kernel records. There is an [Assumed] one only if none always holds.
//
// The sources are xattr_verify and ima_get_hash_algo in the kernel's
// security/integrity/ima/ima_appraise.c, asymmetric_verify_v3 in
// security/integrity/digsig_asymmetric.c and evm_verify_hmac in
// security/integrity/evm/evm_main.c.
func (p Profile) Lacks(f ima.Form, algorithm string, h ima.HashID) []Lack {
	var list []Lack
	for _, n := range needs(f, algorithm) {
		list = append(list, p.lack(&n)...)
	}
	list = append(list, p.defaultHash(f, h)...)
	list = append(list, p.hash(h)...)
	if slices.ContainsFunc(list, func(l Lack) bool { return l.When == Always }) {
		return slices.DeleteFunc(list, func(l Lack) bool { return l.When == Assumed })
	}
	return list
}

// needs lists what the kernel must have for the form, then for the algorithm. Every kernel
// with IMA appraisal has what is not listed.
func needs(f ima.Form, algorithm string) (list []need) {
	cause := "invalid-signature"
	switch {
	case f.Xattr == ima.XattrEVM:
		cause = "invalid-fail-immutable"
		if f.Version == 3 {
			list = append(list, need{what: "version 3 signatures in security.evm", since: Version{7, 1}, cause: cause})
		}
	case f.Type == ima.TypeVerity:
		cause = "invalid-verity-signature"
		list = append(list, need{what: "signatures of fs-verity digests", since: Version{5, 19}, cause: "unknown-ima-data"})
	case f.Version == 3:
		list = append(list, need{what: "version 3 signatures of files", since: Version{7, 1}, cause: "invalid-signature-version"})
	}
	by := need{what: "signatures by " + algorithm + " keys", cause: cause}
	switch {
	case strings.HasPrefix(algorithm, "mldsa"):
		by.since, by.name, by.symbol = Version{7, 2}, "ML-DSA", "CONFIG_CRYPTO_MLDSA"
	case algorithm == "p521":
		by.since, by.name, by.symbol = Version{6, 10}, "ECDSA", "CONFIG_CRYPTO_ECDSA"
	case strings.HasPrefix(algorithm, "p"):
		by.since, by.name, by.symbol = Version{5, 13}, "ECDSA", "CONFIG_CRYPTO_ECDSA"
	default:
		return list
	}
	return append(list, by)
}

func (p Profile) lack(n *need) []Lack {
	switch {
	case p.Version.Older(n.since):
		return []Lack{{fmt.Sprintf("%s are verified since Linux %s", n.what, n.since), n.cause, Always}}
	case n.symbol == "":
		return nil
	case p.Config == nil:
		return []Lack{{fmt.Sprintf("%s need a kernel with %s (%s)", n.what, n.name, n.symbol), n.cause, Assumed}}
	}
	switch p.Config.Value(n.symbol) {
	case "y":
		return nil
	case "m":
		return []Lack{{fmt.Sprintf("%s is a module of the kernel (%s=m), which must be loaded by then", n.name, n.symbol), n.cause, Sometimes}}
	}
	return []Lack{{fmt.Sprintf("the kernel is built without %s (%s)", n.name, n.symbol), n.cause, Always}}
}

// defaultHash is about Linux 7.1, whose ima_get_hash_algo digests files with version 3
// signatures by the kernel's default hash. 7.1.3 refuses other hashes, 7.1.7 does not. The
// default may also be set on the kernel's command line (ima_hash=).
func (p Profile) defaultHash(f ima.Form, h ima.HashID) []Lack {
	if p.Version != (Version{7, 1}) || f.Type != ima.TypeSignature || f.Xattr != ima.XattrIMA || f.Version != 3 {
		return nil
	}
	const cause = "invalid-signature"
	const limit = "early releases of Linux 7.1 (7.1.3, not 7.1.7) verify version 3 signatures of files only over the kernel's default hash (CONFIG_IMA_DEFAULT_HASH, ima_hash=)"
	if p.Config == nil {
		when := Sometimes
		if h == ima.SHA256 {
			when = Assumed
		}
		return []Lack{{fmt.Sprintf("%s, which must be %s", limit, h), cause, when}}
	}
	usual := p.Config.Value("CONFIG_IMA_DEFAULT_HASH")
	if usual == h.String() {
		return nil
	}
	return []Lack{{fmt.Sprintf("%s, which is %s, not %s", limit, usual, h), cause, Sometimes}}
}

// hash says whether the kernel has the digest algorithm. Without it, the kernel computes no
// digest at all (ima_collect_measurement in security/integrity/ima/ima_api.c).
func (p Profile) hash(h ima.HashID) []Lack {
	c, symbol := p.Config, HashSymbol(h)
	if c == nil || h == ima.SHA1 || symbol == "" {
		return nil
	}
	switch c.Provided(symbol) {
	case "y":
		return nil
	case "m":
		return []Lack{{fmt.Sprintf("%s is a module of the kernel (%s=m), which must be loaded by then", h, symbol), "failed", Sometimes}}
	}
	return []Lack{{fmt.Sprintf("the kernel is built without %s (%s)", h, symbol), "failed", Always}}
}
