package simulate

import (
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
)

// value is a line of testdata/verdicts.tsv.
type value struct {
	name  string
	raw   []byte
	valid bool // the signature itself
	said  map[string]string
}

func frozen(t *testing.T) (list []value) {
	t.Helper()
	text, err := os.ReadFile("testdata/verdicts.tsv")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), "\t")
		head, _ := hex.DecodeString(f[1])
		size, err := strconv.Atoi(f[2])
		must(t, err)
		v := value{name: f[0], raw: append(head, make([]byte, size-len(head))...), said: map[string]string{
			"7.3 imasig": f[3], "7.3 sigv3": f[4], "6.12 imasig": f[5],
		}}
		_, end, _ := strings.Cut(f[0], "-")
		_, end, hash := strings.Cut(end, "-")
		v.valid = hash && slices.Contains([]string{"sha1", "sha256", "sha384", "sha512"}, end) ||
			strings.HasPrefix(f[0], "v2-") && !strings.Contains(f[0], "mldsa") || strings.HasPrefix(f[0], "evil-from-v2-")
		list = append(list, v)
	}
	return list
}

// found returns what the engine would say about the value.
func (v *value) found() found {
	if len(v.raw) == 0 {
		return found{}
	}
	f := found{has: true, kind: ima.Type(v.raw[0]), header: headerOf(v.raw, ima.XattrIMA)}
	switch {
	case f.kind == ima.TypeDigestNG:
		f.err = ima.ErrHashOnly
	case !v.valid:
		f.err = ima.ErrBadSignature
	default:
		_, f.by, _ = strings.Cut(strings.TrimPrefix(v.name, "evil-from-"), "-")
		f.by, _, _ = strings.Cut(f.by, "-")
	}
	return f
}

// TestVerdicts compares causes with those of booted kernels.
func TestVerdicts(t *testing.T) {
	const config = "CONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=y\nCONFIG_CRYPTO_ECDSA=y\nCONFIG_CRYPTO_MLDSA=y\n"
	c, err := kernel.ReadConfig(strings.NewReader(config))
	must(t, err)
	compared := 0
	for _, v := range frozen(t) {
		for on, want := range v.said {
			release, word, _ := strings.Cut(on, " ")
			version, err := kernel.ParseVersion(release)
			must(t, err)
			s := simulation{Device: Device{Kernel: kernel.Profile{Version: version, Config: c}}}
			f := v.found()
			rule := &policy.Rule{Action: policy.Appraise, Func: policy.BprmCheck, AppraiseType: policy.AppraiseType(word), Line: 1}
			sub := &subject{verdicts: []verdict{{rule: rule, hook: policy.BprmCheck, certain: true}}}
			s.judge(sub, f)
			got := sub.verdicts[0]
			if got.refusal.passes() != (want == "ok") || got.refusal.cause != strings.TrimPrefix(want, "ok") || !got.certain {
				t.Errorf("%s, Linux %s: %q, certain %v, the kernel said %s", v.name, on, got.refusal.String(), got.certain, want)
			}
			compared++
		}
	}
	if compared != 3*122 {
		t.Errorf("%d verdicts were compared", compared)
	}
}

// TestRemembered checks that the demands of one rule stay with a file.
func TestRemembered(t *testing.T) {
	signature := func(kind ima.Type, version byte) found {
		raw := append([]byte{byte(kind), version, 4, 1, 2, 3, 4, 0, 1}, 0)
		return found{has: true, kind: kind, header: headerOf(raw, ima.XattrIMA), by: "rsa2048"}
	}
	v2, v3, verity := signature(ima.TypeSignature, 2), signature(ima.TypeSignature, 3), signature(ima.TypeVerity, 3)
	digest := found{has: true, kind: ima.TypeDigestNG, header: headerOf(ima.DigestValue(ima.SHA256, make([]byte, 32)), ima.XattrIMA), err: ima.ErrHashOnly}
	for name, c := range map[string]struct {
		found found
		rules []policy.Rule
		want  []string // cause, with ? if it depends
	}{
		"v2, sigv3 elsewhere":          {v2, []policy.Rule{{AppraiseType: policy.IMASig}, {AppraiseType: policy.SigV3}}, []string{"?IMA-sigv3-required", "IMA-sigv3-required"}},
		"v3, sigv3 elsewhere":          {v3, []policy.Rule{{AppraiseType: policy.IMASig}, {AppraiseType: policy.SigV3}}, []string{"", ""}},
		"digest, imasig elsewhere":     {digest, []policy.Rule{{}, {AppraiseType: policy.IMASig}}, []string{"?IMA-signature-required", "IMA-signature-required"}},
		"v3, fs-verity elsewhere":      {v3, []policy.Rule{{AppraiseType: policy.SigV3}, {AppraiseType: policy.SigV3, Verity: true}}, []string{"?verity-signature-required", "verity-signature-required"}},
		"fs-verity, content elsewhere": {verity, []policy.Rule{{AppraiseType: policy.SigV3}, {AppraiseType: policy.SigV3, Verity: true}}, []string{"?IMA-signature-required", ""}},
		"alone":                        {v2, []policy.Rule{{AppraiseType: policy.IMASig}}, []string{""}},
	} {
		s, sub := simulation{}, &subject{}
		for i := range c.rules {
			c.rules[i].Action, c.rules[i].Line = policy.Appraise, i+1
			sub.verdicts = append(sub.verdicts, verdict{rule: &c.rules[i], hook: policy.FileCheck, certain: true})
		}
		s.judge(sub, c.found)
		for i, v := range sub.verdicts {
			got := v.refusal.cause
			if !v.certain {
				got = "?" + got
			}
			if got != c.want[i] {
				t.Errorf("%s: rule %d: got %q (%s), want %q", name, i+1, got, v.refusal.String(), c.want[i])
			}
		}
	}
}
