package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
)

// lines returns a policy of n lines.
func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestGroup checks that findings that say the same are merged, even if values in their lines
// differ.
func TestGroup(t *testing.T) {
	const n = 300
	for name, text := range map[string]string{
		"labels":         lines(n, "dont_measure obj_type=log%d_t\n"),
		"two labels":     lines(n, "dont_measure obj_type=log%d_t subj_user=u%[1]d\n"),
		"measured":       lines(n, "measure func=BPRM_CHECK gid=%d\n"),
		"shadowed":       "measure\n" + lines(n, "measure uid=%d\n"),
		"each repeated":  lines(n, "audit uid=%d\n") + lines(n, "audit uid=%d\n"),
		"first match":    "measure func=BPRM_CHECK fowner=0\n" + lines(n, "dont_measure fsmagic=0x%x\n"),
		"names":          lines(n, "measure uid=user%d\n"),
		"no words":       lines(n, "word%d\n"),
		"CR LF":          lines(n, "dont_measure fsmagic=0x%x\r\n"),
		"CR LF, taken":   lines(n, "dont_measure fsname=x%d\r\n"),
		"keyrings":       lines(n, "measure func=KEY_CHECK keyrings=.k%d\n"),
		"algorithms":     lines(n, "appraise uid=%d appraise_algos=sha512\n"),
		"PCRs":           lines(n, "measure fowner=0 uid=%d pcr=7\n"),
		"NUL":            lines(n, "audit uid=%d\x00x\n"),
		"pseudo-fs":      lines(n, "appraise func=FILE_CHECK uid<%d fsname=proc\n"),
		"needs modsig":   lines(n, "appraise func=MODULE_CHECK uid=%d appraise_type=imasig|modsig\n"),
		"digest_type":    lines(n, "measure digest_type=verity uid=%d\n"),
		"twice":          lines(n, "measure fsname=a fsname=b%d\n"),
		"UUIDs":          lines(n, "measure fsuuid=8bcbe394-4f13-4144-be8e-5aa9ea2ce2f6%d\n"),
		"not for action": lines(n, "audit pcr=1%d\n"),
	} {
		all := Check(parse(t, text), Target{})
		groups := finding.Group(all)
		if len(all) < n || len(groups) > 12 {
			t.Errorf("%s: %d findings were merged into %d: %+v", name, len(all), len(groups), groups[:min(20, len(groups))])
		}
		covered := map[string]bool{}
		for _, g := range groups {
			for _, line := range append([]int{g.Line}, g.Lines...) {
				covered[fmt.Sprint(g.Rule, g.Severity, line)] = true
			}
			if !slices.IsSorted(g.Lines) || len(g.Lines) == 1 || len(g.Lines) > 1 && g.Lines[0] != g.Line {
				t.Errorf("%s: line %d, lines %v", name, g.Line, g.Lines)
			}
		}
		for _, f := range all {
			if !covered[fmt.Sprint(f.Rule, f.Severity, f.Line)] {
				t.Errorf("%s: %+v is lost", name, f)
			}
		}
	}
}

// TestGroupKeepsApart checks that a few findings, and findings of different severities, are
// not merged.
func TestGroupKeepsApart(t *testing.T) {
	got := finding.Group(Check(parse(t, "audit uid=root\naudit uid=nobody\naudit obj_type=a_t\naudit subj_type=b_t\naudit foo\n"), Target{}))
	for _, f := range got {
		if f.Lines != nil {
			t.Errorf("%+v", f)
		}
	}
	if len(got) < 5 {
		t.Errorf("%+v", got)
	}
}
