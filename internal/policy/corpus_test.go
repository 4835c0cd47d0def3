package policy

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/certs"
)

// kernels are those that tests/policy/freeze.sh asked, in the order of the columns.
func kernels(t *testing.T) []Kernel {
	t.Helper()
	var list []Kernel
	for _, name := range []string{"6.1", "6.12"} {
		list = append(list, Kernel{Version: version(t, name), Config: config(t, name)})
	}
	return list
}

func version(t *testing.T, text string) certs.Kernel {
	t.Helper()
	v, err := certs.ParseKernel(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func config(t *testing.T, name string) *Config {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "config-"+name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := ReadConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// frozen returns the fields of a frozen table, the last one unquoted.
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

// lineFinding returns what decides about line 1: a refusal, or what a refusal
// depends on.
func lineFinding(findings []Finding) (Finding, bool) {
	for _, f := range findings {
		if f.Line == 1 && f.Severity == Refuse {
			return f, true
		}
	}
	for _, f := range findings {
		if f.Line == 1 && f.Severity == Warn && (f.Rule == RuleConfig || f.Rule == RuleLabel) {
			return f, false
		}
	}
	return Finding{}, false
}

// TestCorpus holds the verdict on each line against that of the booted kernel, and
// the reason and the column against those that the table says.
func TestCorpus(t *testing.T) {
	for _, row := range frozen(t, "corpus.tsv", 500) {
		text := row[5]
		for i, k := range kernels(t) {
			found, refused := lineFinding(Check(parse(t, text+"\n"), k))
			why := found.Rule
			switch {
			case why == "":
				why = "ok"
			case !refused:
				why += "?"
			}
			if why != row[2+i] {
				t.Errorf("Linux %s, %q: %s (%s), want %s", k.Version, text, why, found.Detail, row[2+i])
			}
			if column := strconv.Itoa(found.Column); refused && column != row[4] {
				t.Errorf("Linux %s, %q: column %s, want %s", k.Version, text, column, row[4])
			}
			agrees(t, k, text, row[i], refused, strings.HasSuffix(why, "?"))
		}
	}
}

// TestRandomRules holds verdicts on random words against the booted kernels'.
func TestRandomRules(t *testing.T) {
	for _, row := range frozen(t, "random.tsv", 1000) {
		for i, k := range kernels(t) {
			found, refused := lineFinding(Check(parse(t, row[2]+"\n"), k))
			agrees(t, k, row[2], row[i], refused, found.Rule != "" && !refused)
		}
	}
}

// agrees compares with what the kernel said; where the verdict depends on what runs
// on a device, both are right.
func agrees(t *testing.T, k Kernel, text, kernel string, refused, depends bool) {
	t.Helper()
	if (kernel != "ok") != refused && !depends {
		t.Errorf("Linux %s, %q: refused is %v, the kernel said %s", k.Version, text, refused, kernel)
	}
}

// TestEveryWordIsInTheCorpus keeps the corpus whole when the language grows.
func TestEveryWordIsInTheCorpus(t *testing.T) {
	accepted := map[string]bool{}
	for _, row := range frozen(t, "corpus.tsv", 500) {
		for _, token := range split(row[5]) {
			if w, _ := lookup(token.Text); w != nil && row[1] == "ok" {
				accepted[w.Text] = true
			}
			if f, ok := strings.CutPrefix(token.Text, "func="); ok && row[1] == "ok" {
				accepted[f] = true
			}
		}
	}
	for _, w := range Words() {
		// Debian's kernel runs AppArmor, which has subj_role only.
		if label := Label(strings.TrimSuffix(w.Text, "=")); label != SubjRole && strings.Contains(w.Text, "bj_") {
			continue
		}
		if !accepted[w.Text] {
			t.Errorf("no accepted line has %s", w.Text)
		}
	}
	for _, f := range FuncWords() {
		if !accepted[f.Text] {
			t.Errorf("no accepted line has func=%s", f.Text)
		}
	}
}

// TestCanonicalForm holds that a rule that the kernel takes says the same when it is
// written out and read again.
func TestCanonicalForm(t *testing.T) {
	for _, table := range []string{"corpus.tsv", "random.tsv"} {
		for _, row := range frozen(t, table, 500) {
			for _, k := range kernels(t) {
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
