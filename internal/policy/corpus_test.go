package policy

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
)

// asked returns the releases that tests/policy/freeze.sh asked, oldest first. The first two
// have columns in the tables.
func asked() []string {
	return []string{"6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3"}
}

// kernels returns the kernels of these releases.
func kernels(t *testing.T) []Target {
	t.Helper()
	var list []Target
	for _, name := range asked() {
		list = append(list, Target{Profile: kernel.Profile{Version: version(t, name), Config: config(t, name)}})
	}
	return list
}

// verdicts returns a function that returns the verdict of the i-th kernel on a row of a table:
// the one of a column, or else the last change in later.tsv.
func verdicts(t *testing.T) func(i int, row []string) string {
	t.Helper()
	type question struct{ release, text string }
	changes := map[question]string{}
	for _, row := range frozen(t, "later.tsv", 100) {
		changes[question{row[0], row[2]}] = row[1]
	}
	return func(i int, row []string) string {
		for ; i > 1; i-- {
			if verdict, ok := changes[question{asked()[i], row[len(row)-1]}]; ok {
				return verdict
			}
		}
		return row[i]
	}
}

func version(t *testing.T, text string) kernel.Version {
	t.Helper()
	v, err := kernel.ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// config reads a configuration in testdata and changes it: +SYMBOL sets a symbol to y, and
// -SYMBOL unsets it.
func config(t *testing.T, name string, changes ...string) *kernel.Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "config-"+name))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for _, change := range changes {
		symbol, add := strings.CutPrefix(change, "+")
		if add {
			lines = append(lines, symbol+"=y")
			continue
		}
		symbol = strings.TrimPrefix(change, "-")
		kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return strings.HasPrefix(line, symbol+"=") })
		if len(kept) == len(lines) {
			t.Fatalf("%s is not set", symbol)
		}
		lines = kept
	}
	c, err := kernel.ReadConfig(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// frozen returns the rows of a table in testdata. The last field of each is unquoted.
func frozen(t *testing.T, name string, least int) [][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var table [][]string
	for _, row := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if strings.HasPrefix(row, "#") {
			continue
		}
		fields := strings.Split(row, "\t")
		text, err := strconv.Unquote(fields[len(fields)-1])
		if err != nil {
			t.Fatalf("%s: %v", row, err)
		}
		fields[len(fields)-1] = text
		table = append(table, fields)
	}
	if len(table) < least {
		t.Fatalf("%s has %d rows, want %d", name, len(table), least)
	}
	return table
}

func parse(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lineFinding returns the finding that decides about line 1: a refusal, or a finding about
// something that a refusal depends on.
func lineFinding(findings []finding.Finding) (finding.Finding, bool) {
	for _, f := range findings {
		if f.Line == 1 && f.Severity == finding.Refuse {
			return f, true
		}
	}
	for _, f := range findings {
		if f.Line == 1 && f.Severity == finding.Warn && (f.Rule == RuleConfig || f.Rule == RuleLabel) {
			return f, false
		}
	}
	return finding.Finding{}, false
}

// TestCorpus compares the result for each line with that of the booted kernel. For the kernels
// that have columns it also compares the rule and the column with those in the table.
func TestCorpus(t *testing.T) {
	kernels, verdict := kernels(t), verdicts(t)
	for _, row := range frozen(t, "corpus.tsv", 620) {
		text := row[5]
		for i, k := range kernels {
			found, refused := lineFinding(Check(parse(t, text+"\n"), k))
			why := found.Rule
			switch {
			case why == "":
				why = "ok"
			case !refused:
				why += "?"
			}
			agrees(t, k, text, verdict(i, row), refused, strings.HasSuffix(why, "?"))
			if i > 1 {
				continue
			}
			if why != row[2+i] {
				t.Errorf("Linux %s, %q: %s (%s), want %s", k.Version, text, why, found.Detail, row[2+i])
			}
			if column := strconv.Itoa(found.Column); refused && column != row[4] {
				t.Errorf("Linux %s, %q: column %s, want %s", k.Version, text, column, row[4])
			}
		}
	}
}

// TestRandomRules compares the results for random words with those of the booted kernels.
func TestRandomRules(t *testing.T) {
	kernels, verdict := kernels(t), verdicts(t)
	for _, row := range frozen(t, "random.tsv", 1900) {
		for i, k := range kernels {
			found, refused := lineFinding(Check(parse(t, row[2]+"\n"), k))
			agrees(t, k, row[2], verdict(i, row), refused, found.Rule != "" && !refused)
		}
	}
}

// agrees compares a result with the kernel's. If the result depends on what runs on the
// device, any result of the kernel is right.
func agrees(t *testing.T, k Target, text, kernel string, refused, depends bool) {
	t.Helper()
	if (kernel != "ok") != refused && !depends {
		t.Errorf("Linux %s, %q: refused is %v, but the kernel returned %s", k.Version, text, refused, kernel)
	}
}

// TestEveryWordIsInTheCorpus checks that the corpus is complete when words are added.
func TestEveryWordIsInTheCorpus(t *testing.T) {
	accepted, verdict := map[string]bool{}, verdicts(t)
	for _, row := range frozen(t, "corpus.tsv", 500) {
		if verdict(len(asked())-1, row) != "ok" {
			continue
		}
		for _, token := range split(row[5]) {
			if w, _ := lookup(token.Text); w != nil {
				accepted[w.text] = true
			}
			if f, ok := strings.CutPrefix(token.Text, "func="); ok {
				accepted[f] = true
			}
		}
	}
	for _, w := range history.words {
		// Debian's kernel runs AppArmor, which supports only subj_role.
		if label := Label(strings.TrimSuffix(w.text, "=")); label != SubjRole && strings.Contains(w.text, "bj_") {
			continue
		}
		if !accepted[w.text] {
			t.Errorf("no accepted line has %s", w.text)
		}
	}
	for _, f := range funcWords {
		if !accepted[f.text] {
			t.Errorf("no accepted line has func=%s", f.text)
		}
	}
}

// TestCanonicalForm checks that a rule that the kernel accepts stays the same when it is
// written and read again.
func TestCanonicalForm(t *testing.T) {
	kernels := kernels(t)
	for _, table := range []string{"corpus.tsv", "random.tsv"} {
		for _, row := range frozen(t, table, 500) {
			for _, k := range kernels {
				rules, _ := k.Rules(parse(t, row[len(row)-1]))
				if len(rules) != 1 {
					continue
				}
				again, findings := k.Rules(parse(t, string(Format(rules))))
				if len(again) != 1 || again[0].String() != rules[0].String() {
					t.Errorf("%q became %s, which gives %v %v", row[len(row)-1], rules[0], again, findings)
				}
			}
		}
	}
}
