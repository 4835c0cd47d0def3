package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sources calls visit for every Go file of the program, without tests.
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
		t.Fatalf("only %d files were found", seen)
	}
}

// calls calls visit for every call in file, with the name of the called function, such as
// fmt.Errorf or a.note.
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

// printers are the files of the program that may print, with the functions that they may use.
// Package report prints results, and a.note prints messages for people. Both format with
// package quote, because names, subjects and errors contain text from outside.
var printers = map[string][]string{
	"internal/report/printer.go":       {"quote.Fprintf"},
	"internal/report/cli_reference.go": {"fmt.Fprint", "fmt.Fprintf"}, // docs/cli.md, which has no such text
	"output.go":                        {"a.out.Write"},               // results that are files
	"progress_screen.go":               {"io.WriteString"},            // what a.note quoted, and the line of progress
	"secret.go":                        {"quote.Fprintf"},             // the prompt
	"confirm.go":                       {"quote.Fprintf"},             // the question
}

// TestNothingIsPrintedUnquoted checks that only the printers print.
func TestNothingIsPrintedUnquoted(t *testing.T) {
	unused := maps.Clone(printers)
	sources(t, func(set *token.FileSet, path string, file *ast.File) {
		name, is := strings.CutPrefix(filepath.ToSlash(path), "../../cmd/imasign-build/")
		if !is {
			return
		}
		calls(file, func(called string, call *ast.CallExpr) {
			switch {
			case !prints(called) || len(call.Args) > 0 && local(call.Args[0]):
			case slices.Contains(printers[name], called):
				delete(unused, name)
			default:
				t.Errorf("%s: %s: only package report (for results) and a.note print", set.Position(call.Pos()), called)
			}
		})
	})
	for name := range unused {
		t.Errorf("%s does not print", name)
	}
}

func prints(called string) bool {
	direct := slices.ContainsFunc([]string{".out.Write", ".err.Write", ".summary.Write"}, func(s string) bool { return strings.HasSuffix(called, s) })
	return direct || strings.HasPrefix(called, "fmt.Fprint") || strings.HasPrefix(called, "fmt.Print") || called == "io.WriteString" || called == "quote.Fprintf"
}

// local reports whether e is &buffer, a buffer in which text is composed.
func local(e ast.Expr) bool {
	address, is := e.(*ast.UnaryExpr)
	return is && address.Op == token.AND
}

// TestReportAloneMakesJSON checks that only package report encodes results as JSON.
func TestReportAloneMakesJSON(t *testing.T) {
	all := list(t, "./cmd/imasign-build/...")
	for path, p := range all {
		hall := strings.TrimPrefix(path, module+"/cmd/imasign-build")
		if slices.Contains(p.Imports, "encoding/json") && hall != "/internal/report" && hall != "/internal/oci" { // layouts are JSON
			t.Errorf("%s makes JSON", path)
		}
	}
	if !slices.Contains(all[module+"/cmd/imasign-build/internal/report"].Imports, "encoding/json") {
		t.Error("package report makes no JSON: this test checks nothing")
	}
}

// TestErrorsAreLinesByStructure checks that no error has a newline in its own text, because
// package quote could not distinguish it from a newline in a path. errors.Join and quote.Below
// make lines.
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

// flag matches a flag or an environment variable in an error or a warning.
var flag = regexp.MustCompile(`(^|[ (])--?[a-z][a-z-]+|TMPDIR|IMASIGN_`)

// TestPackagesNameNoFlags checks that errors of packages name no flags. The command adds that
// advice from the tables in advice_*.go.
func TestPackagesNameNoFlags(t *testing.T) {
	makers := []string{"Errorf", "New", "Warnf", "warn", "Warn"}
	sources(t, func(set *token.FileSet, path string, file *ast.File) {
		if strings.Contains(path, "/cmd/imasign-build/") && !strings.Contains(path, "/internal/") {
			return
		}
		calls(file, func(called string, call *ast.CallExpr) {
			if !slices.Contains(makers, called[strings.LastIndex(called, ".")+1:]) {
				return
			}
			for _, arg := range call.Args {
				if text, is := arg.(*ast.BasicLit); is && text.Kind == token.STRING && flag.MatchString(strings.Trim(text.Value, "\"`")) {
					t.Errorf("%s: %s names a flag: %s", set.Position(call.Pos()), called, text.Value)
				}
			}
		})
	})
}
