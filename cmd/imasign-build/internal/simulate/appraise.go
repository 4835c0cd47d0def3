package simulate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
)

// judge completes the verdicts of the rules that cover a file.
func (s *simulation) judge(sub *subject, f found) {
	for i := range sub.verdicts {
		v := &sub.verdicts[i]
		reason, certain := s.refusal(v.rule, v.hook, sub, &f)
		v.reason, v.certain = reason, v.certain && certain
	}
}

// refusal says why a rule would not let a file pass, "" if it would, and whether
// that is certain.
func (s *simulation) refusal(r *policy.Rule, hook policy.Func, sub *subject, f *found) (reason string, certain bool) {
	if hook == policy.ModuleCheck && sub.kind.compressed != "" && r.Func == policy.ModuleCheck {
		if reason, certain = s.unpacked(sub.kind.compressed); reason != "" && certain {
			return reason, true
		}
	}
	other, sure := s.value(r, hook, sub, f)
	if other != "" {
		return other, sure
	}
	return reason, certain
}

// unpacked judges modules that modprobe unpacks itself and loads by init_module. The
// kernel refuses this call if it must appraise modules.
func (s *simulation) unpacked(compression string) (reason string, certain bool) {
	const refused = "modprobe unpacks it and calls init_module, which gets EACCES"
	symbol := "CONFIG_MODULE_COMPRESS_" + strings.ToUpper(compression)
	c := s.Kernel.Config
	switch {
	case s.Kernel.Version.Before(5, 17):
		return refused + "; kernels unpack modules since Linux 5.17", true
	case c == nil:
		return refused + ", unless the kernel has CONFIG_MODULE_DECOMPRESS and " + symbol, false
	case c.Builtin("CONFIG_MODULE_SIG_FORCE"), c.Builtin("CONFIG_MODULE_DECOMPRESS") && c.Builtin(symbol):
		return "", true
	}
	return refused + ": the kernel is built without CONFIG_MODULE_DECOMPRESS or " + symbol, true
}

// value judges security.ima, as ima_appraise_measurement and xattr_verify do.
func (s *simulation) value(r *policy.Rule, hook policy.Func, sub *subject, f *found) (reason string, certain bool) {
	appended := r.AppraiseType == policy.IMASigOrModsig && sub.kind.modsig &&
		(hook == policy.ModuleCheck || hook == policy.KexecKernelCheck || hook == policy.KexecInitramfsCheck)
	switch {
	case r.Verity && f.kind != ima.TypeVerity:
		return "no fs-verity signature in security.ima (verity-signature-required)", true
	case r.Verity:
		return "its fs-verity signature is not checked here", false
	case appended && (!f.has || f.kind == ima.TypeDigestNG || errors.Is(f.err, ima.ErrUnknownKey)):
		return "", true // counted as not checked
	case !f.has && r.AppraiseType == policy.AnyValue:
		return "no security.ima (missing-hash)", true
	case !f.has:
		return "no security.ima (IMA-signature-required)", true
	}
	if reason, certain = s.protected(&f.evm); reason != "" {
		return reason, certain
	}
	return s.content(r, f)
}

// content judges a security.ima that EVM lets pass, as xattr_verify does.
func (s *simulation) content(r *policy.Rule, f *found) (reason string, certain bool) {
	switch {
	case f.covered:
		if reason = s.covered(r); reason != "" {
			return reason, true
		}
	case errors.Is(f.err, ima.ErrHashOnly) && r.AppraiseType == policy.AnyValue:
	case errors.Is(f.err, ima.ErrHashOnly):
		return "a digest and no signature (IMA-signature-required)", true
	case errors.Is(f.err, ima.ErrUnsupportedHash):
		return fmt.Sprintf("its %s digest cannot be computed here", f.hash), false
	case f.err != nil:
		return f.err.Error(), true
	}
	if r.Algorithms != nil && !slices.Contains(r.Algorithms, f.hash) {
		return fmt.Sprintf("%s is not among appraise_algos (denied-hash-algorithm)", f.hash), true
	}
	reason, certain = s.verifiable(f.by)
	if other, sure := s.hashable(f.hash); reason == "" || other != "" && sure && !certain {
		return other, sure
	}
	return reason, certain
}

// verifiable says whether the kernel has the algorithm of a key. It also loads
// certificates whose algorithm it does not have.
func (s *simulation) verifiable(by string) (reason string, certain bool) {
	if !strings.HasPrefix(by, "p") {
		return "", true
	}
	since := kernel.Version{Major: 5, Minor: 13}
	if by == "p521" {
		since = kernel.Version{Major: 6, Minor: 10}
	}
	const symbol = "CONFIG_CRYPTO_ECDSA"
	switch c := s.Kernel.Config; {
	case s.Kernel.Version.Older(since):
		return fmt.Sprintf("signatures by %s keys are verified since Linux %s", by, since), true
	case c == nil, c.Builtin(symbol):
		return "", true
	case c.Value(symbol) == "m":
		return fmt.Sprintf("ECDSA is a module of the kernel (%s=m), which must be loaded by then", symbol), false
	}
	return fmt.Sprintf("the kernel is built without ECDSA (%s)", symbol), true
}

// hashable says whether the kernel has the digest algorithm.
func (s *simulation) hashable(h ima.HashID) (reason string, certain bool) {
	c, symbol := s.Kernel.Config, kernel.HashSymbol(h)
	if c == nil || h == ima.SHA1 || symbol == "" {
		return "", true
	}
	switch c.Provided(symbol) {
	case "y":
		return "", true
	case "m":
		return fmt.Sprintf("%s is a module of the kernel (%s=m), which must be loaded by then", h, symbol), false
	}
	return fmt.Sprintf("the kernel is built without %s (%s)", h, symbol), true
}
