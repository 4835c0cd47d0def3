package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// A block is a fenced part of a page.
type block struct {
	page     string // path below the root of the repository
	line     int    // of the opening fence, from 1
	language string
	text     string
	notRun   string // why not, "" for a block that runs
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

func (b block) isCommands() bool { return b.language == "sh" || b.language == "console" }

func (b block) runs() bool { return b.isCommands() && b.notRun == "" }

var notRun = regexp.MustCompile(`^<!-- not run: (\S.*) -->$`)

// parse returns the blocks of a page, or an error for a fence that does not say what it
// contains.
func parse(page, text string) ([]block, error) {
	var blocks []block
	var open *block
	reason, reasonLine := "", 0
	for i, line := range strings.Split(text, "\n") {
		language, fence := strings.CutPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case open != nil && fence:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line + "\n"
		case fence:
			open = &block{page: page, line: i + 1, language: language, notRun: reason}
			if err := open.check(); err != nil {
				return nil, err
			}
			reason = ""
		case notRun.MatchString(line):
			reason, reasonLine = notRun.FindStringSubmatch(line)[1], i+1
			continue
		case strings.Contains(line, "not run:"):
			return nil, fmt.Errorf("%s:%d: not a comment like <!-- not run: reason -->", page, i+1)
		case line == "":
			continue
		}
		if reason != "" {
			return nil, fmt.Errorf("%s:%d: no block follows", page, reasonLine)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block is not closed", open)
	}
	return blocks, nil
}

func (b block) check() error {
	if !slices.Contains([]string{"sh", "console", "bitbake", "json", "text"}, b.language) {
		return fmt.Errorf("%s: the language %q is none of those in tests/docs/doc.go", b, b.language)
	}
	if b.notRun != "" && !b.isCommands() {
		return fmt.Errorf("%s: marked as not run, but contains no commands", b)
	}
	return nil
}

// pages returns the blocks of the pages that are tested, by path.
func pages(t *testing.T) map[string][]block {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	result := map[string][]block{}
	for _, file := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		if name == "docs/cli.md" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if result[name], err = parse(name, string(text)); err != nil {
			t.Error(err)
		}
	}
	return result
}

// A step is one command of a session and the output that the page shows.
type step struct {
	command string
	output  []string
}

// session splits a console block. Lines behind a command that ends in a backslash belong to
// the command.
func session(b block) ([]step, error) {
	var steps []step
	continued := false
	for line := range strings.Lines(b.text) {
		line = strings.TrimSuffix(line, "\n")
		command, prompt := strings.CutPrefix(line, "$ ")
		switch last := len(steps) - 1; {
		case continued:
			steps[last].command += "\n" + line
			command = line
		case prompt:
			steps = append(steps, step{command: command})
		case last < 0:
			return nil, fmt.Errorf("%s: output without a command", b)
		default:
			steps[last].output = append(steps[last].output, line)
			continue
		}
		continued = strings.HasSuffix(command, `\`)
	}
	return steps, nil
}

// matches tells whether output is what a page shows.
func matches(shown []string, output string) bool {
	pattern := "^"
	for _, line := range shown {
		if line == "…" {
			pattern += `(?:.*\n)*?`
			continue
		}
		pattern += strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*") + `\n`
	}
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	return regexp.MustCompile(pattern + "$").MatchString(output)
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"```sh\ntrue\n```": "sh/",
		"<!-- not run: no board -->\n\n```sh\ntrue\n```": "sh/no board",
		"```json\n{}\n```\n\n```text\nx\n```":            "json/ text/",
		"```\ntrue\n```":                                 "error",
		"```shell\ntrue\n```":                            "error",
		"```sh\ntrue":                                    "error",
		"<!-- not run: -->\n```sh\ntrue\n```":            "error",
		"<!-- not run: no board -->\ntext\n":             "error",
		"<!-- not run: no board -->\n```text\nx\n```":    "error",
	} {
		blocks, err := parse("page", text)
		var got []string
		for _, b := range blocks {
			got = append(got, b.language+"/"+b.notRun)
		}
		if err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown  string
		output string
		want   bool
	}{
		{"a", "a\n", true},
		{"a", "a", true},
		{"a", "a\nb\n", false},
		{"a\n…", "a\nb\n", true},
		{"…\nb", "a\nb\n", true},
		{"a … c", "a b c\n", true},
		{"a … c", "a\nb c\n", false},
		{"a.", "ab\n", false},
	} {
		if got := matches(strings.Split(c.shown, "\n"), c.output); got != c.want {
			t.Errorf("%q as %q: %v", c.output, c.shown, got)
		}
	}
}
