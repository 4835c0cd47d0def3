package policy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// on returns a kernel of a release, with Debian's configuration of the newest one, changed.
func on(t *testing.T, release string, changes ...string) Target {
	t.Helper()
	return Target{Profile: kernel.Profile{Version: version(t, release), Config: config(t, kernel.Newest().String(), changes...)}}
}

// TestReleasesToCome checks that a kernel that is newer than the known ones gets warnings of what
// it may accept, and refusals of what no kernel will.
func TestReleasesToCome(t *testing.T) {
	to, now := on(t, "7.4"), on(t, "7.3")
	for _, c := range []struct {
		text     string
		severity finding.Severity
	}{
		{"measure new_word", finding.Warn}, {"new_action func=BPRM_CHECK", finding.Warn}, {"measure new=a|b uid=0", finding.Warn}, {"measure new<5", finding.Warn},
		{"measure func=NEW_CHECK", finding.Warn}, {"measure func=FILE_CHECK mask=MAY_NEW", finding.Warn}, {"measure template=ima-sigv3", finding.Refuse},
		{"measure template=ima-new", finding.Warn}, {"appraise appraise_type=sigv4", finding.Warn}, {"appraise digest_type=other appraise_type=sigv3", finding.Warn},
		{"appraise appraise_algos=sha9", finding.Warn}, {"appraise digest_type=verity appraise_type=imasig", finding.Warn},
		{"measure func=KEXEC_CMDLINE mask=MAY_READ", finding.Warn}, {"dont_audit func=KEY_CHECK", finding.Warn}, {"audit pcr=10", finding.Warn},
		{"appraise digest_type=verity", finding.Warn}, {"appraise func=SETXATTR_CHECK", finding.Warn},

		{"measure new_word uid=x", finding.Refuse}, {"new uid=0 uid=1", finding.Refuse}, {"func=BPRM_CHECK", finding.Refuse}, {"MEASURE", finding.Refuse},
		{"measure uid>=1", finding.Refuse}, {"measure func=bprm_check", finding.Refuse}, {"measure fsname=", finding.Refuse}, {"/etc/ima/ima_policy", finding.Refuse},
		{"measure new\r", finding.Refuse}, {"measure measure", finding.Refuse}, {"measure pcr=64", finding.Refuse}, {"measure fsuuid=x", finding.Refuse},
		{"appraise func=MODULE_CHECK appraise_type=imasig|modsig", finding.Refuse}, // CONFIG_IMA_APPRAISE_MODSIG is not set
	} {
		findings := Check(parse(t, c.text+"\n"), to)
		refused := finding.Refused(findings)
		if refused != (c.severity == finding.Refuse) || !refused && !slices.ContainsFunc(findings, func(f finding.Finding) bool { return f.Line == 1 && f.Severity == finding.Warn }) {
			t.Errorf("Linux 7.4, %q: refused is %v: %v", c.text, refused, findings)
		}
		if findings := Check(parse(t, c.text+"\n"), now); !finding.Refused(findings) {
			t.Errorf("Linux 7.3, %q is not refused: %v", c.text, findings)
		}
	}
	for _, row := range frozen(t, "corpus.tsv", 500) { // what 7.3 accepts, 7.4 does
		if was := Check(parse(t, row[5]+"\n"), now); !finding.Refused(was) && finding.Refused(Check(parse(t, row[5]+"\n"), to)) {
			t.Errorf("Linux 7.4 refuses %q", row[5])
		}
	}
}

// TestAnyKernel checks that words of releases after the oldest one of interest are reported if
// the policy is not for a certain kernel.
func TestAnyKernel(t *testing.T) {
	for text, since := range map[string]string{
		"measure func=MMAP_CHECK_REQPROT": "6.3", "appraise func=SETXATTR_CHECK appraise_algos=sha3-256": "6.7", "measure uid=0 # x": "6.14",
		"dont_audit uid=0": "6.19", "measure fs_subtype=x": "6.19", "appraise appraise_type=sigv3": "7.1", "appraise appraise_type=imasig digest_type=verity": "7.1",
		"measure gid=0": "", "appraise digest_type=verity appraise_type=sigv3": "", "# x": "",
	} {
		var warned string
		findings := Check(parse(t, text+"\n"), Target{})
		for _, f := range findings {
			if f.Rule == RuleNewer && f.Severity == finding.Warn {
				warned = f.Detail
			}
		}
		if (since == "") != (warned == "") || !strings.Contains(warned, since) || len(findings) > 0 && finding.Refused(findings) && since != "" {
			t.Errorf("%q: %q, want Linux %s: %v", text, warned, since, findings)
		}
	}
}

// TestAppraiseTypes checks what a kernel with appended signatures makes of several
// appraise_type=. Linux 7.3.4, built with CONFIG_IMA_APPRAISE_MODSIG, gave these verdicts.
func TestAppraiseTypes(t *testing.T) {
	for _, c := range []struct{ words, want string }{
		{"imasig imasig", "appraise_type=imasig"}, {"imasig sigv3", "appraise_type=sigv3"}, {"sigv3 imasig", "appraise_type=sigv3"},
		{"imasig imasig|modsig", "appraise_type=imasig|modsig"}, {"imasig|modsig imasig", "appraise_type=imasig|modsig"},
		{"imasig|modsig sigv3", "appraise_type=imasig|modsig appraise_type=sigv3"}, {"imasig|modsig sigv3 imasig", "appraise_type=imasig|modsig appraise_type=sigv3"},
		{"sigv3 imasig|modsig", ""}, {"imasig sigv3 imasig|modsig", ""}, {"imasig|modsig sigv3 imasig|modsig", ""},
	} {
		text := "appraise func=MODULE_CHECK"
		for _, kind := range strings.Fields(c.words) {
			text += " appraise_type=" + kind
		}
		got := ""
		if rules, _ := on(t, "7.3", "+CONFIG_IMA_APPRAISE_MODSIG").Rules(parse(t, text+"\n")); len(rules) == 1 {
			got = strings.TrimPrefix(rules[0].String(), "appraise func=MODULE_CHECK ")
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", text, got, c.want)
		}
	}
}

// TestSinceIsDocumented checks that docs/policy.md names what is newer than 6.1, with its release.
func TestSinceIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range releases {
		since := kernel.Version{Major: r.major, Minor: r.minor}
		if !kernel.Oldest().Older(since) {
			continue
		}
		row := ""
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "| "+since.String()+" |") {
				row = line
			}
		}
		if row == "" {
			t.Errorf("docs/policy.md has no row for %s", since)
		}
		for _, text := range strings.Fields(r.words + " " + r.values) {
			if key := leading(text); !strings.Contains(row, strings.TrimPrefix(text, key+"=")) {
				t.Errorf("docs/policy.md does not say that %s is new in %s", text, since)
			}
		}
	}
}

// TestFSSubtype checks the comparison of rules that differ in fs_subtype.
func TestFSSubtype(t *testing.T) {
	rules, findings := Target{Profile: kernel.Profile{Version: version(t, "7.0")}}.Rules(parse(t, "audit fsname=fuse\naudit fs_subtype=sshfs\naudit fs_subtype=x\naudit fsname=fuse fs_subtype=sshfs\n"))
	if len(findings) > 0 || len(rules) != 4 {
		t.Fatal(findings)
	}
	for _, c := range []struct {
		a, b          int
		covers, meets bool
	}{{0, 3, true, true}, {1, 3, true, true}, {3, 0, false, true}, {0, 1, false, true}, {1, 2, false, false}, {2, 3, false, false}} {
		if got := rules[c.a].covers(rules[c.b]); got != c.covers {
			t.Errorf("%s covers %s: %v", rules[c.a], rules[c.b], got)
		}
		if got := rules[c.a].meets(rules[c.b]); got != c.meets || rules[c.b].meets(rules[c.a]) != got {
			t.Errorf("%s meets %s: %v", rules[c.a], rules[c.b], got)
		}
	}
	for _, c := range []struct {
		rule int
		name string
		want Answer
	}{{1, "", Maybe}, {1, "ext4", No}, {1, "fuse", Maybe}, {1, "fuseblk", Maybe}, {3, "fuse", Maybe}, {3, "fuseblk", No}, {0, "fuse", Yes}} {
		if got := rules[c.rule].OnFileSystem(c.name); got != c.want {
			t.Errorf("%s on %q: %v", rules[c.rule], c.name, got)
		}
	}
}
