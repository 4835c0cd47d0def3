package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxExported is the maximum number of exported names of all packages in pkg/ together:
// types, functions, constants and variables.
const maxExported = 300

// declared is an exported name of a package in pkg/, or a method, "Type.Method".
type declared struct {
	pkg, name string // pkg as in "pkg/ima"
	kind      token.Token
	doc       string
}

func (d declared) method() bool { return strings.Contains(d.name, ".") }

// exported lists the exported names of the packages in pkg/. A name that several files for
// different systems declare is listed once.
func exported(t *testing.T) (all []declared) {
	t.Helper()
	parsed(t, "pkg", func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, d := range file.Decls {
			for _, one := range declaredBy(d) {
				one.pkg = filepath.Dir(path)
				again := func(o declared) bool { return o.pkg == one.pkg && o.name == one.name }
				if !slices.ContainsFunc(all, again) {
					all = append(all, one)
				}
			}
		}
	})
	if len(all) < 100 {
		t.Fatalf("only %d names were found", len(all))
	}
	return all
}

// parsed calls visit for every Go file below a directory of the repository, tests
// included, with its path in the repository.
func parsed(t *testing.T, dir string, visit func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err == nil {
			visit(strings.TrimPrefix(path, root+"/"), file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// declaredBy lists the exported names of one declaration, with the comments above and after
// each name and above the whole group.
func declaredBy(d ast.Decl) (names []declared) {
	add := func(id *ast.Ident, kind token.Token, docs ...*ast.CommentGroup) {
		one := declared{name: id.Name, kind: kind}
		for _, doc := range docs {
			one.doc += doc.Text()
		}
		if id.IsExported() {
			names = append(names, one)
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		on := receiver(d)
		if add(d.Name, token.FUNC, d.Doc); on != "" && names != nil {
			names[0].name = on + "." + d.Name.Name
		}
		if on != "" && !ast.IsExported(on) {
			return nil
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				add(s.Name, d.Tok, d.Doc, s.Doc)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					add(id, d.Tok, d.Doc, s.Doc, s.Comment)
				}
			}
		}
	}
	return names
}

// receiver returns the name of the type that a method belongs to, or "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, is := of.(*ast.StarExpr); is {
		of = pointer.X
	}
	if generic, is := of.(*ast.IndexExpr); is {
		of = generic.X
	}
	return written(of)
}

// TestPublicAPIIsSmall limits the number of exported names, because each is a promise to
// importers.
func TestPublicAPIIsSmall(t *testing.T) {
	names := map[string]int{}
	total := 0
	for _, d := range exported(t) {
		if !d.method() {
			names[d.pkg]++
			total++
		}
	}
	if total > maxExported {
		t.Errorf("pkg/ exports %d names, want at most %d: %v", total, maxExported, names)
	}
	t.Logf("%d names: %v", total, names)
}

func TestPublicAPIIsDocumented(t *testing.T) {
	for _, d := range exported(t) {
		if d.doc == "" {
			t.Errorf("%s: %s has no comment", d.pkg, d.name)
		}
	}
	examples := map[string]bool{}
	parsed(t, "pkg", func(path string, file *ast.File) {
		dir := filepath.Dir(path)
		examples[dir] = examples[dir] || slices.ContainsFunc(file.Decls, isExample)
	})
	for dir, has := range examples {
		if !has {
			t.Errorf("%s has no Example", dir)
		}
	}
}

func isExample(d ast.Decl) bool {
	f, is := d.(*ast.FuncDecl)
	return is && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example")
}

// TestPublicAPIIsUsed checks that every exported function, constant and variable is used by
// another package or an Example. (Types can be used without their names.)
func TestPublicAPIIsUsed(t *testing.T) {
	used := map[string]bool{} // "pkg/ima.Parse"
	for _, dir := range []string{"cmd", "internal", "pkg", "tests"} {
		parsed(t, dir, func(path string, file *ast.File) {
			if own := filepath.Dir(path); !strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(own, "pkg/") {
				note(used, "", file, file)
			} else {
				note(used, own, file, file)
				for _, d := range slices.DeleteFunc(file.Decls, func(d ast.Decl) bool { return !isExample(d) }) {
					note(used, "", file, d)
				}
			}
		})
	}
	for _, d := range exported(t) {
		if d.kind != token.TYPE && !d.method() && !used[d.pkg+"."+d.name] {
			t.Errorf("%s: no other package uses %s", d.pkg, d.name)
		}
	}
}

// note collects the names of other packages of this module that a node of a file uses. It
// does not collect names of the package not, which the file tests.
func note(used map[string]bool, not string, file *ast.File, node ast.Node) {
	imported := map[string]string{}
	for _, i := range file.Imports {
		full, err := strconv.Unquote(i.Path.Value)
		path, ours := strings.CutPrefix(full, module+"/")
		if err != nil || !ours || path == not {
			continue
		}
		name := filepath.Base(path)
		if i.Name != nil {
			name = i.Name.Name
		}
		imported[name] = path
	}
	ast.Inspect(node, func(n ast.Node) bool {
		if s, is := n.(*ast.SelectorExpr); is {
			if path := imported[written(s.X)]; path != "" {
				used[path+"."+s.Sel.Name] = true
			}
		}
		return true
	})
}
