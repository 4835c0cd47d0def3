package archtest

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryTestRuns checks that make test runs the tests without the race detector that it leaves out with it.
func TestEveryTestRuns(t *testing.T) {
	left := regexp.MustCompile(variable(t, "SERIAL_TESTS"))
	packages := strings.Fields(variable(t, "SERIAL_TESTED"))
	for _, dir := range []string{"cmd", "internal", "pkg"} {
		parsed(t, dir, func(path string, file *ast.File) {
			for _, d := range file.Decls {
				if f, is := d.(*ast.FuncDecl); is && left.MatchString(f.Name.Name) && !slices.Contains(packages, "./"+filepath.Dir(path)) {
					t.Errorf("%s: %s is in SERIAL_TESTS of the Makefile, and its package not in SERIAL_TESTED", path, f.Name.Name)
				}
			}
		})
	}
}

// variable returns the value of a variable of the Makefile.
func variable(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` = (.*)`).FindStringSubmatch(strings.ReplaceAll(string(text), "\\\n", ""))
	if m == nil {
		t.Fatalf("the Makefile has no %s", name)
	}
	return strings.ReplaceAll(m[1], "$$", "$")
}
