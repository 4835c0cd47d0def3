package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	versions "github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/tests/harness"
)

const frozen = "../../internal/policy/testdata"

// rules returns the quoted rules of a frozen table.
func rules(t *testing.T, table string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(frozen, table))
	check(t, err)
	var list []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			list = append(list, fields[len(fields)-1])
		}
	}
	return list
}

// early returns rules that are refused because of how and when the initramfs loads them,
// and similar rules that are not.
func early() []string {
	pad := func(length int, end string) string {
		const start = "audit func=BPRM_CHECK"
		return strconv.Quote(start + strings.Repeat(" ", length-len(start)-len(end)) + end)
	}
	list := []string{pad(4094, "uid=0"), pad(4095, "uid=0"), pad(4097, "uid=0"), pad(4200, "uid=0"), pad(9000, "")}
	for _, rule := range []string{
		"audit obj_type=bin_t", "audit obj_role=object_r", "audit obj_user=system_u", "audit subj_type=init_t", "audit subj_role=system_r",
		"audit subj_user=system_u", "dont_measure obj_type=var_log_t", "appraise func=BPRM_CHECK obj_type=bin_t appraise_type=imasig",
		"audit subj_role=/usr/bin/man", "audit obj_user=-x", "audit func=BPRM_CHECK subj_type=a_t obj_type=b_t",
		" # " + strings.Repeat("x", 5000),
	} {
		list = append(list, strconv.Quote(rule))
	}
	return list
}

// TestPolicyCheck writes each rule of the corpus, and rules of random words, to the
// kernel, and compares the result with that of policy check --initramfs. Debian's kernel
// runs SELinux without a policy, as in an initramfs. IMASIGN_NIGHTLY=1 adds Debian's own
// kernels of all releases that the mirror has.
func TestPolicyCheck(t *testing.T) {
	list := slices.Concat(rules(t, "corpus.tsv"), rules(t, "random.tsv"), early())
	kernels := map[string]func(*testing.T) kernel{"built": built, "newer": newer, "debian": debian}
	if harness.Nightly() {
		addStock(t, kernels)
	}
	for name, find := range kernels {
		t.Run(name, func(t *testing.T) {
			k := find(t)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "rules"), strings.Join(list, "\n")+"\n")
			write(t, filepath.Join(dir, "plan"), "verdicts\t/rules\n")
			// Only the guest writes to the console, because the kernel logs 2,000 refusals. Without
			// audit=0, Linux 7.3 waits for each of their records to be written.
			program(t, "guest", filepath.Join(dir, "init"))
			c := machine{kernel: k, initramfs: cpio(t, dir), line: "loglevel=1 audit=0 security=selinux"}.boot(t)
			if len(c.verdicts) != len(list) || c.results["start"][0] != strconv.Itoa(len(list)) {
				t.Fatalf("%d verdicts on %d rules", len(c.verdicts), len(list))
			}
			agree(t, k, list, c.verdicts)
		})
	}
}

func agree(t *testing.T, k kernel, list, verdicts []string) {
	t.Helper()
	accepted, depend, modsig := 0, 0, false
	judged := k.judged(t)
	judged.Early = true
	later := versions.Newest().Older(judged.Version) // which may accept more than policy check knows
	for i, quoted := range list {
		text, err := strconv.Unquote(quoted)
		check(t, err)
		p, err := policy.Parse([]byte(text + "\n"))
		check(t, err)
		refused, depends := said(policy.Check(p, judged))
		switch {
		case verdicts[i] == "ok":
			accepted++
			words, _, _ := strings.Cut(text, "#")
			modsig = modsig || strings.Contains(words, "imasig|modsig")
		case verdicts[i] != "EINVAL" && verdicts[i] != "ERANGE":
			t.Errorf("%s: the kernel said %s", quoted, verdicts[i])
		}
		if depends {
			depend++
		}
		certain := !depends && (refused || !later)
		if certain && refused != (verdicts[i] != "ok") {
			t.Errorf("%s: refused is %v, the kernel said %s", quoted, refused, verdicts[i])
		}
	}
	if modsig != (judged.Config.Value("CONFIG_IMA_APPRAISE_MODSIG") == "y") {
		t.Errorf("rules with imasig|modsig were accepted: %v", modsig)
	}
	t.Logf("%d rules, %d accepted, %d depend on the device", len(list), accepted, depend)
	// A refused rule must not stop the following ones.
	if accepted < 200 || accepted > len(list)/2 || depend > len(list)/50 {
		t.Errorf("%d of %d rules accepted, of %d nothing can be said", accepted, len(list), depend)
	}
}

// said returns whether a rule is refused, and whether that depends on something unknown.
// The finding that a file contains no rules belongs to no line.
func said(findings []finding.Finding) (refused, depends bool) {
	for _, f := range findings {
		if f.Line != 1 {
			continue
		}
		refused = refused || f.Severity == finding.Refuse
		depends = depends || f.Severity == finding.Warn && (f.Rule == policy.RuleConfig || f.Rule == policy.RuleLabel)
	}
	return refused, depends && !refused
}
