package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWithoutSecrets(t *testing.T) {
	environ := []string{"PATH=/bin", "PASS=geheim", "PASSX=public", "PGP=geheim too"}
	got := withoutSecrets(slices.Clone(environ), "env:PASS", "file:/PATH", "env:PGP", "")
	if want := []string{"PATH=/bin", "PASSX=public"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestChildEnvironment checks that other programs get no variable with a secret, whatever
// named it.
func TestChildEnvironment(t *testing.T) {
	for _, name := range []string{"FLAG", "VARIABLE", "URI"} {
		t.Setenv("IMASIGN_TEST_"+name, "geheim")
	}
	a := newApp()
	if _, err := a.secret("--key-pass", "env:IMASIGN_TEST_FLAG"); err != nil {
		t.Fatal(err)
	}
	if value, set := a.uriSecret("IMASIGN_TEST_URI"); !set || value != "geheim" {
		t.Errorf("%q, %v", value, set)
	}
	for _, source := range []string{"env:IMASIGN_TEST_VARIABLE", "geheim"} { // the second is the secret itself
		t.Setenv(passVariable, source)
		for _, entry := range a.childEnvironment() {
			if name, _, _ := strings.Cut(entry, "="); name == passVariable || name == "IMASIGN_TEST_FLAG" || name == "IMASIGN_TEST_URI" || entry == "IMASIGN_TEST_VARIABLE=geheim" && source != "geheim" {
				t.Errorf("%s=%s: a child would get %s", passVariable, source, entry)
			}
		}
	}
}
