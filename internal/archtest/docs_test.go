package archtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// document reads a file of the repository and its lines.
func document(t *testing.T, path string) (text string, lines []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	text = string(content)
	return text, strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

var codeSpan = regexp.MustCompile("`([^`\n]+)`")

// spans returns the code spans of a text.
func spans(text string) (list []string) {
	for _, match := range codeSpan.FindAllStringSubmatch(text, -1) {
		list = append(list, match[1])
	}
	return list
}

// section returns the text below a heading.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no %q", heading)
	}
	level := heading[:strings.IndexByte(heading, ' ')+1]
	body, _, _ := strings.Cut(rest, "\n"+level)
	return body
}

// firstCells returns the code spans in the first column of a section's table.
func firstCells(body string) (list []string) {
	_, rows, _ := strings.Cut(body, "\n| --- |")
	for line := range strings.Lines(rows) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			list = append(list, spans(cells[1])...)
		}
	}
	return list
}

// same compares two sets.
func same(t *testing.T, what string, documented, real []string) {
	t.Helper()
	for i, name := range documented {
		if !slices.Contains(real, name) {
			t.Errorf("%s: the code does not have %s", what, name)
		}
		if slices.Contains(documented[:i], name) {
			t.Errorf("%s: %s appears twice", what, name)
		}
	}
	for _, name := range real {
		if !slices.Contains(documented, name) {
			t.Errorf("%s lacks %s", what, name)
		}
	}
}

const architecture = "docs/architecture.md"

func TestArchitectureIsShort(t *testing.T) {
	if _, lines := document(t, architecture); len(lines) > 80 {
		t.Errorf("%s has %d lines, 80 at most: decisions are pages of docs/adr", architecture, len(lines))
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	text, _ := document(t, architecture)
	var documented, real []string
	for _, name := range firstCells(section(t, text, "## Packages")) {
		documented = append(documented, directory(name))
	}
	for path := range list(t, "./...") {
		name := strings.TrimPrefix(path, module+"/")
		if !strings.HasPrefix(name, "tests/") {
			real = append(real, name)
		}
	}
	slices.Sort(real)
	same(t, architecture, documented, real)
}

func TestArchitectureNamesTheArrows(t *testing.T) {
	text, _ := document(t, architecture)
	body := section(t, text, "## Arrows that never exist")
	var documented, real []string
	for line := range strings.Lines(body) {
		if strings.Contains(line, ": never ") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	for _, a := range arrows() {
		real = append(real, a.String())
	}
	same(t, architecture, documented, real)
	_, glossary, _ := strings.Cut(text, "\n- **Container**")
	if line, _, _ := strings.Cut(glossary, "\n"); !slices.Equal(spans(line), containers()) {
		t.Errorf("%s: containers are %v, not %v", architecture, containers(), spans(line))
	}
}

// TestArchitectureNamesPlacesThatExist checks that the page names only existing files and
// directories.
func TestArchitectureNamesPlacesThatExist(t *testing.T) {
	text, _ := document(t, architecture)
	_, text, _ = strings.Cut(text, "\n## ") // skip the picture at the beginning
	for _, name := range spans(text) {
		if !strings.Contains(name, "/") {
			continue
		}
		_, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			_, err = os.Stat(filepath.Join(root, halls, name))
		}
		if err != nil {
			t.Errorf("%s: there is no %s", architecture, name)
		}
	}
}

// TestDependenciesAreListed compares docs/dependencies.md with the direct requirements of
// go.mod, and with those that the program imports.
func TestDependenciesAreListed(t *testing.T) {
	const page = "docs/dependencies.md"
	text, _ := document(t, page)
	linked := list(t, "-deps", "./cmd/...", "./internal/...", "./pkg/...")
	var program, tests []string
	for _, path := range required(t) {
		used := false
		for imported := range linked {
			used = used || imported == path || strings.HasPrefix(imported, path+"/")
		}
		if used {
			program = append(program, path)
		} else {
			tests = append(tests, path)
		}
	}
	same(t, page+", In the program,", firstCells(section(t, text, "## In the program")), program)
	same(t, page+", Only in tests,", firstCells(section(t, text, "## Only in tests")), tests)
}

// required returns the modules that go.mod requires directly.
func required(t *testing.T) (modules []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{if not (or .Main .Indirect)}}{{.Path}}{{end}}", "all")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	if modules = strings.Fields(string(out)); len(modules) < 10 {
		t.Fatalf("only %d modules were listed", len(modules))
	}
	return modules
}

var (
	decisionName = regexp.MustCompile(`^\d{3}-[a-z0-9-]+\.md$`)
	decisionHead = regexp.MustCompile(`^# (\d{3}): (.+)\n\nStatus: (accepted|superseded by ADR \d{3})\. Date: (\d{4}-\d{2}-\d{2})\.\n`)
)

// TestDecisions checks that the pages are numbered without gaps, are short, have all parts,
// and are in the index.
func TestDecisions(t *testing.T) {
	const dir = "docs/adr"
	index, _ := document(t, dir+"/README.md")
	entries, err := os.ReadDir(filepath.Join(root, dir))
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	for _, entry := range entries { // sorted
		name := entry.Name()
		if name == "README.md" {
			continue
		}
		number++
		text, lines := document(t, dir+"/"+name)
		head := decisionHead.FindStringSubmatch(text)
		if !decisionName.MatchString(name) || head == nil || head[1] != name[:3] {
			t.Errorf("%s: want NNN-title.md that begins with # NNN: title, Status and Date", name)
			continue
		}
		if head[1] != fmt.Sprintf("%03d", number) {
			t.Errorf("%s: the next number is %03d", name, number)
		}
		if len(lines) < 8 || len(lines) > 25 {
			t.Errorf("%s has %d lines, not 8 to 25", name, len(lines))
		}
		for _, part := range []string{"Context", "Decision", "Consequences"} {
			if !strings.Contains(text, "\n**"+part+".** ") {
				t.Errorf("%s has no %s", name, part)
			}
		}
		if row := fmt.Sprintf("| [%s](%s) | %s | %s |", head[1], name, head[2], head[4]); !strings.Contains(index, row) {
			t.Errorf("%s/README.md lacks\n%s", dir, row)
		}
	}
	if rows := strings.Count(index, "\n| ["); rows != number {
		t.Errorf("%s/README.md has %d rows for %d decisions", dir, rows, number)
	}
}
