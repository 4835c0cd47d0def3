package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sources calls visit for every file of the program, tests left out.
func sources(t *testing.T, visit func(set *token.FileSet, path string, file *ast.File)) {
	t.Helper()
	seen := 0
	for _, root := range []string{"../../cmd", "../../pkg", "../../internal"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err == nil {
				seen++
				visit(set, path, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Fatalf("only %d files were looked at", seen)
	}
}

// calls calls visit for every call in file, with what is called: fmt.Errorf, a.note.
func calls(file *ast.File, visit func(called string, call *ast.CallExpr)) {
	ast.Inspect(file, func(n ast.Node) bool {
		if call, is := n.(*ast.CallExpr); is {
			visit(written(call.Fun), call)
		}
		return true
	})
}

func written(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return written(e.X) + "." + e.Sel.Name
	}
	return ""
}

// TestNothingIsPrintedUnquoted: package quote alone formats for a terminal, because
// names, subjects and errors are somebody else's text.
func TestNothingIsPrintedUnquoted(t *testing.T) {
	sources(t, func(set *token.FileSet, path string, file *ast.File) {
		if !strings.Contains(path, "/cmd/") || strings.Contains(path, "/internal/") || filepath.Base(path) == "output.go" || filepath.Base(path) == "app.go" {
			return
		}
		calls(file, func(called string, call *ast.CallExpr) {
			direct := slices.ContainsFunc([]string{".out.Write", ".err.Write", ".summary.Write"}, func(s string) bool { return strings.HasSuffix(called, s) })
			if direct || strings.HasPrefix(called, "fmt.Fprint") || strings.HasPrefix(called, "fmt.Print") || called == "io.WriteString" {
				t.Errorf("%s: %s: quote.Fprintf prints, or app.note", set.Position(call.Pos()), called)
			}
		})
	})
}

// TestErrorsAreLinesByStructure: where an error has a newline in its own text, package
// quote could not tell it from one in a path; errors.Join and quote.Below make lines.
func TestErrorsAreLinesByStructure(t *testing.T) {
	makers := []string{"Errorf", "New", "usagef", "note", "Warnf", "warn", "notAKey", "unsupportedKey"}
	sources(t, func(set *token.FileSet, _ string, file *ast.File) {
		calls(file, func(called string, call *ast.CallExpr) {
			if !slices.Contains(makers, called[strings.LastIndex(called, ".")+1:]) {
				return
			}
			for _, arg := range call.Args {
				if text, is := arg.(*ast.BasicLit); is && text.Kind == token.STRING && strings.Contains(text.Value, `\n`) {
					t.Errorf("%s: %s with a newline", set.Position(call.Pos()), called)
				}
			}
		})
	})
}
