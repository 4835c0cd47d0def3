package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/pkg/ima"
)

// found is what security.ima says of a file's content.
type found struct {
	has  bool
	kind ima.Type
	hash ima.HashID
	by   string // algorithm of the key of a signature that holds
	err  error  // of the keyring; nil for a signature that holds
}

// verify holds the value against the content, which is read once.
func (s Simulation) verify(ctx context.Context, f *os.File, value []byte, size int64) (found, error) {
	if len(value) == 0 {
		return found{}, nil
	}
	v, err := ima.Parse(value)
	if err != nil {
		return found{has: true, kind: ima.Type(value[0]), err: err}, nil //nolint:nilerr // it is the verdict
	}
	r := found{has: true, kind: v.Type, hash: v.Hash}
	std, ok := v.Hash.CryptoHash()
	if !ok {
		r.err = ima.ErrUnsupportedHash
		return r, nil
	}
	h := std.New()
	n, err := io.Copy(h, readerOf(ctx, io.NewSectionReader(f, 0, size+1)))
	switch {
	case err != nil:
		return r, err
	case n != size:
		return r, fmt.Errorf("it had %d bytes and has %d", size, n)
	}
	key, err := s.Keyring.Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: v.Hash, Digest: h.Sum(nil)})
	if r.err = err; err == nil {
		r.by = key.Algorithm()
	}
	return r, nil
}

// readerOf stops reading when the context ends.
func readerOf(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		return r.Read(b)
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// refusal says why a rule would not let a file pass, "" if it would, and whether
// that is certain.
func (s Simulation) refusal(r *Rule, hook Func, sub *subject) (reason string, certain bool) {
	if hook == ModuleCheck && sub.kind.compressed != "" && r.Func == ModuleCheck {
		if reason, certain = s.unpacked(sub.kind.compressed); reason != "" && certain {
			return reason, true
		}
	}
	other, sure := s.value(r, hook, sub)
	if other != "" {
		return other, sure
	}
	return reason, certain
}

// unpacked judges modules that modprobe unpacks itself, to load them by init_module:
// the kernel refuses that where it must appraise modules.
func (s Simulation) unpacked(compression string) (reason string, certain bool) {
	const refused = "modprobe unpacks it and calls init_module, which gets EACCES"
	symbol := "CONFIG_MODULE_COMPRESS_" + strings.ToUpper(compression)
	c := s.Kernel.Config
	switch {
	case before(s.Kernel.Version, 5, 17):
		return refused + "; kernels unpack modules since Linux 5.17", true
	case c == nil:
		return refused + ", unless the kernel has CONFIG_MODULE_DECOMPRESS and " + symbol, false
	case c.builtin("CONFIG_MODULE_SIG_FORCE"), c.builtin("CONFIG_MODULE_DECOMPRESS") && c.builtin(symbol):
		return "", true
	}
	return refused + ": the kernel is built without CONFIG_MODULE_DECOMPRESS or " + symbol, true
}

// value judges security.ima, as ima_appraise_measurement and xattr_verify do.
func (s Simulation) value(r *Rule, hook Func, sub *subject) (reason string, certain bool) {
	f := &sub.found
	appended := r.AppraiseType == IMASigOrModsig && sub.kind.modsig &&
		(hook == ModuleCheck || hook == KexecKernelCheck || hook == KexecInitramfsCheck)
	switch {
	case r.Verity && f.kind != ima.TypeVerity:
		return "no fs-verity signature in security.ima (verity-signature-required)", true
	case r.Verity:
		return "its fs-verity signature is not checked here", false
	case appended && (!f.has || f.kind == ima.TypeDigestNG || errors.Is(f.err, ima.ErrUnknownKey)):
		return "", true // counted as not checked
	case !f.has && r.AppraiseType == AnyValue:
		return "no security.ima (missing-hash)", true
	case !f.has:
		return "no security.ima (IMA-signature-required)", true
	case errors.Is(f.err, ima.ErrHashOnly) && r.AppraiseType == AnyValue:
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

// verifiable says whether the kernel has the algorithm of a key: it takes certificates
// into its keyrings without.
func (s Simulation) verifiable(by string) (reason string, certain bool) {
	if !strings.HasPrefix(by, "p") {
		return "", true
	}
	since := certs.Kernel{Major: 5, Minor: 13}
	if by == "p521" {
		since = certs.Kernel{Major: 6, Minor: 10}
	}
	const symbol = "CONFIG_CRYPTO_ECDSA"
	switch c := s.Kernel.Config; {
	case older(s.Kernel.Version, since):
		return fmt.Sprintf("signatures by %s keys are verified since Linux %s", by, since), true
	case c == nil, c.builtin(symbol):
		return "", true
	case c.Value(symbol) == "m":
		return fmt.Sprintf("ECDSA is a module of the kernel (%s=m), which must be loaded by then", symbol), false
	}
	return fmt.Sprintf("the kernel is built without ECDSA (%s)", symbol), true
}

// hashable says whether the kernel has the digest algorithm.
func (s Simulation) hashable(h ima.HashID) (reason string, certain bool) {
	c, symbol := s.Kernel.Config, hashSymbol(h)
	if c == nil || h == ima.SHA1 || symbol == "" {
		return "", true
	}
	switch c.provided(symbol) {
	case "y":
		return "", true
	case "m":
		return fmt.Sprintf("%s is a module of the kernel (%s=m), which must be loaded by then", h, symbol), false
	}
	return fmt.Sprintf("the kernel is built without %s (%s)", h, symbol), true
}

// tally counts by rule.
func (r *Result) tally(rules []*Rule, subjects []*subject) {
	at := map[*Rule]int{}
	for _, rule := range rules {
		if rule.Action == Appraise && rule.Func != SetxattrCheck {
			at[rule] = len(r.Rules)
			r.Rules = append(r.Rules, Tally{Rule: rule})
		}
	}
	for _, sub := range subjects {
		for _, v := range sub.verdicts {
			t := &r.Rules[at[v.rule]]
			switch {
			case v.reason == "":
				t.Passed++
			case v.certain:
				t.Refused++
			default:
				t.Possible++
			}
		}
	}
}

// refusals lists what does not pass, with what needs it.
func (r *Result) refusals(subjects []*subject, l *linker) {
	boot := l.boot()
	for _, sub := range subjects {
		for _, v := range sub.verdicts {
			if v.reason == "" {
				continue
			}
			_, early := boot[sub]
			early = early && (v.rule.moments()&asks(BprmCheck, MmapCheck, MmapCheckReqProt, CredsCheck) != 0)
			r.Refused = append(r.Refused, Verdict{
				Path: sub.node.Path, Func: v.hook, Line: v.rule.Line, Reason: v.reason, Certain: v.certain, Boot: early, NeededBy: l.neededBy[sub],
			})
		}
	}
	slices.SortStableFunc(r.Refused, func(a, b Verdict) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
}

// unknown says what was not judged.
func (r *Result) unknown(s Simulation, rules []*Rule, subjects []*subject, l *linker, mounts int) {
	say := func(format string, args ...any) { r.Unknown = append(r.Unknown, fmt.Sprintf(format, args...)) }
	r.Unknown = append(r.Unknown, conditions(s, rules)...)
	evm, appended := 0, 0
	for _, sub := range subjects {
		if sub.evm {
			evm++
		}
		if sub.kind.modsig && slices.ContainsFunc(sub.verdicts, func(v verdict) bool { return v.rule.AppraiseType == IMASigOrModsig }) {
			appended++
		}
	}
	if appended > 0 {
		say("the appended signatures of %d modules or kernels are not checked", appended)
	}
	if evm > 0 {
		say("security.evm of %d files is not checked: where EVM is enabled, it can refuse them as well", evm)
	}
	if mounts > 0 {
		say("%d mount points in the tree were not entered", mounts)
	}
	for _, name := range l.missing() {
		say("%s is not in the tree", name)
	}
	say("files that the device makes itself, other file systems, what programs load by dlopen, and which programs are run, are not known here")
}

// conditions names rules that depend on more than a tree shows.
func conditions(s Simulation, rules []*Rule) []string {
	var list []string
	for _, rule := range rules {
		if rule.Action.class() != Appraise {
			continue
		}
		var on []string
		if !rule.UID.has(0) || !rule.GID.has(0) {
			on = append(on, "processes that are not root's: it was not tried")
		}
		if len(rule.Labels) > 0 {
			on = append(on, "labels of a security module")
		}
		if rule.FSUUID != nil {
			on = append(on, "the UUID of a file system")
		}
		if s.onFileSystem(rule) == maybe {
			on = append(on, "the kind of file system, which --fs would tell")
		}
		if on != nil {
			list = append(list, "the rule of line "+strconv.Itoa(rule.Line)+" depends on "+strings.Join(on, ", "))
		}
	}
	return list
}
