package archtest

import (
	"encoding/json"
	"errors"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestPublicAPINamesNoInternalType checks that no exported declaration uses a type of an
// internal package, because importers cannot name such a type.
func TestPublicAPINamesNoInternalType(t *testing.T) {
	exports := exportData(t)
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	from := importer.ForCompiler(token.NewFileSet(), "gc", lookup)
	seen := 0
	for _, path := range slices.Sorted(maps.Keys(exports)) {
		if !below(path, "pkg") {
			continue
		}
		p, err := from.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range p.Scope().Names() {
			if o := p.Scope().Lookup(name); o.Exported() {
				seen++
				public(p, o, func(hidden types.Type) { t.Errorf("%s: %s names %s", path, name, hidden) })
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d names were found", seen)
	}
}

// exportData returns the compiler's files with the export data of packages, by import path.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "./pkg/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -export: %v", err)
	}
	files := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
	}
}

// public calls tell with each internal type that an importer sees in the object o of package
// p: in its type or, if o is a type, in its methods, fields and embedded types.
func public(p *types.Package, o types.Object, tell func(types.Type)) {
	named, is := o.Type().(*types.Named)
	if _, declares := o.(*types.TypeName); !is || !declares {
		mentions(o.Type(), tell)
		return
	}
	for m := range named.Methods() {
		if m.Exported() {
			mentions(m.Signature(), tell)
		}
	}
	fields, is := named.Underlying().(*types.Struct)
	if !is {
		mentions(named.Underlying(), tell)
		return
	}
	for f := range fields.Fields() {
		if f.Exported() {
			mentions(f.Type(), tell)
		}
	}
}

// mentions calls tell with each internal type in the type in.
func mentions(in types.Type, tell func(types.Type)) {
	switch in := in.(type) {
	case *types.Named:
		if p := in.Obj().Pkg(); p != nil && below(p.Path(), "internal") {
			tell(in)
		}
		for arg := range in.TypeArgs().Types() {
			mentions(arg, tell)
		}
	case *types.Alias:
		mentions(types.Unalias(in), tell)
	case *types.Map:
		mentions(in.Key(), tell)
		mentions(in.Elem(), tell)
	case interface{ Elem() types.Type }: // pointers, slices, arrays, channels
		mentions(in.Elem(), tell)
	case *types.Signature:
		for v := range in.Params().Variables() {
			mentions(v.Type(), tell)
		}
		for v := range in.Results().Variables() {
			mentions(v.Type(), tell)
		}
	case *types.Struct:
		for f := range in.Fields() {
			mentions(f.Type(), tell)
		}
	case *types.Interface:
		for m := range in.Methods() {
			mentions(m.Signature(), tell)
		}
	}
}
