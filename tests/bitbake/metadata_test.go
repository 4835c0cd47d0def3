package bitbake

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the path of the layer, relative to this package.
const root = "../.."

// metadata lists the files that BitBake parses, without the layer of the tests.
func metadata(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"conf/*.conf", "classes/*.bbclass", "recipes/*/*.bb", "recipes/*/*.bbappend", "recipes/*/*.inc"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Errorf("%s matches nothing", pattern)
		}
		files = append(files, found...)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// function is a task or another function of a metadata file.
type function struct {
	file, name string
	kind       string // shell, python (a task's body) or def
	body       string
}

var (
	functionStart = regexp.MustCompile(`^(?:fakeroot +)?(python +)?([\w:-]*) *\( *\) *\{$`)
	defStart      = regexp.MustCompile(`^def +(\w+)`)
)

// functions parses a metadata file like BitBake: a function ends at a line that is "}", a
// def at the first line that is not indented.
func functions(t *testing.T, file string) []function {
	t.Helper()
	var all []function
	lines := strings.Split(read(t, file), "\n")
	for i := 0; i < len(lines); i++ {
		f := function{file: file}
		start := i
		if m := functionStart.FindStringSubmatch(lines[i]); m != nil {
			f.kind, f.name = "shell", m[2]
			if m[1] != "" {
				f.kind = "python"
			}
			for i++; i < len(lines) && lines[i] != "}"; i++ {
				f.body += lines[i] + "\n"
			}
			if i == len(lines) {
				t.Fatalf("%s:%d: %s has no end", file, start+1, f.name)
			}
		} else if m := defStart.FindStringSubmatch(lines[i]); m != nil {
			f.kind, f.name, f.body = "def", m[1], lines[i]+"\n"
			for i+1 < len(lines) && (lines[i+1] == "" || strings.HasPrefix(lines[i+1], " ")) {
				i++
				f.body += lines[i] + "\n"
			}
		} else {
			continue
		}
		all = append(all, f)
	}
	return all
}

// allFunctions returns the functions of the whole layer.
func allFunctions(t *testing.T) []function {
	t.Helper()
	var all []function
	for _, file := range metadata(t) {
		all = append(all, functions(t, file)...)
	}
	return all
}

// classFunction returns the source of a def in a class.
func classFunction(t *testing.T, class, name string) string {
	t.Helper()
	for _, f := range functions(t, filepath.Join(root, "classes", class+".bbclass")) {
		if f.kind == "def" && f.name == name {
			return f.body
		}
	}
	t.Fatalf("classes/%s.bbclass has no %s", class, name)
	return ""
}

var assignment = regexp.MustCompile(`(?m)^(?:export +)?(IMASIGN_[A-Z0-9_]+)(?::[\w:-]+)? *(?:\?\?=|\?=|:=|\+=|=)`)

// variables returns the variables that the layer assigns.
func variables(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, file := range metadata(t) {
		for _, m := range assignment.FindAllStringSubmatch(read(t, file), -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
