package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/policy"
)

const frozen = "../../pkg/policy/testdata"

// rules of a frozen table, quoted.
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

// TestPolicyCheck: each rule of the corpus, and each of random words, is written to
// the kernel, and policy check says of it what the kernel did.
func TestPolicyCheck(t *testing.T) {
	list := append(rules(t, "corpus.tsv"), rules(t, "random.tsv")...)
	for name, find := range map[string]func(*testing.T) kernel{"built": built, "debian": debian} {
		t.Run(name, func(t *testing.T) {
			k := find(t)
			dir := t.TempDir()
			write(t, filepath.Join(dir, "rules"), strings.Join(list, "\n")+"\n")
			write(t, filepath.Join(dir, "plan"), "verdicts\t/rules\n")
			// To the console only what the guest says: 2,000 refusals are logged.
			program(t, "guest", filepath.Join(dir, "init"))
			c := machine{kernel: k, initramfs: cpio(t, dir), line: "loglevel=1"}.boot(t)
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
	for i, quoted := range list {
		text, err := strconv.Unquote(quoted)
		check(t, err)
		p, err := policy.Parse([]byte(text + "\n"))
		check(t, err)
		refused, depends := said(policy.Check(p, judged))
		switch {
		case verdicts[i] == "ok":
			accepted++
			modsig = modsig || strings.Contains(text, "imasig|modsig")
		case verdicts[i] != "EINVAL" && verdicts[i] != "ERANGE":
			t.Errorf("%s: the kernel said %s", quoted, verdicts[i])
		}
		if depends {
			depend++
		} else if refused != (verdicts[i] != "ok") {
			t.Errorf("%s: refused is %v, the kernel said %s", quoted, refused, verdicts[i])
		}
	}
	if modsig != (judged.Config.Value("CONFIG_IMA_APPRAISE_MODSIG") == "y") {
		t.Errorf("rules with imasig|modsig were accepted: %v", modsig)
	}
	t.Logf("%d rules, %d accepted, %d depend on the device", len(list), accepted, depend)
	// A wrong rule must not stop what comes after it.
	if accepted < 200 || accepted > len(list)/2 || depend > len(list)/50 {
		t.Errorf("%d of %d rules accepted, of %d nothing can be said", accepted, len(list), depend)
	}
}

// said returns whether a rule is refused, and whether that depends on what cannot be
// known. That a file without rules is no policy is said of no line.
func said(findings []policy.Finding) (refused, depends bool) {
	for _, f := range findings {
		if f.Line != 1 {
			continue
		}
		refused = refused || f.Severity == policy.Refuse
		depends = depends || f.Severity == policy.Warn && (f.Rule == policy.RuleConfig || f.Rule == policy.RuleLabel)
	}
	return refused, depends && !refused
}
