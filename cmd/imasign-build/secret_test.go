package main

import (
	"slices"
	"testing"
)

func TestWithoutSecrets(t *testing.T) {
	environ := []string{"PATH=/bin", "PASS=geheim", "PASSX=public", "PGP=geheim too"}
	got := withoutSecrets(slices.Clone(environ), "env:PASS", "file:/PATH", "env:PGP", "")
	if want := []string{"PATH=/bin", "PASSX=public"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
