package report

import (
	"reflect"
	"testing"
)

// TestANameMeansOneThing checks that every name is explained and has one type.
func TestANameMeansOneThing(t *testing.T) {
	types := map[string]string{}
	check := func(document any) {
		each(fields(reflect.TypeOf(document).Elem()), func(f field) {
			if words()[f.name] == "" {
				t.Errorf("%T: %q is not among the words", document, f.name)
			}
			if met, is := types[f.name]; is && met != f.typ {
				t.Errorf("%T: %q is of type %s here, and %s elsewhere", document, f.name, f.typ, met)
			}
			types[f.name] = f.typ
		})
	}
	check(&Failure{})
	for _, k := range Kinds() {
		check(k.Document)
	}
	for word := range words() {
		if types[word] == "" {
			t.Errorf("%q is in no document", word)
		}
	}
	if len(types) < 50 {
		t.Errorf("only %d names", len(types))
	}
}

// TestEveryDocumentHasItsCommand checks that every document begins with the command.
func TestEveryDocumentHasItsCommand(t *testing.T) {
	for _, k := range Kinds() {
		if all := fields(reflect.TypeOf(k.Document).Elem()); all[0].name != "command" || all[0].optional {
			t.Errorf("%T: begins with %q", k.Document, all[0].name)
		}
	}
}
