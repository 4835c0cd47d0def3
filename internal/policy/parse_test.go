package policy

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestParseKeepsBytes(t *testing.T) {
	for _, text := range []string{
		"", "\n", "\n\n", "measure", "measure\n", "# a\r\n\tmeasure  func=BPRM_CHECK \n\n", "\x00", "a\x00b\nc", "\xff\xfe\n", " ", strings.Repeat("x", 1<<16),
	} {
		if got := parse(t, text).text(); string(got) != text {
			t.Errorf("%q is printed as %q", text, got)
		}
	}
}

func TestParseWords(t *testing.T) {
	p := parse(t, "# one\n\n \tmeasure\t func=BPRM_CHECK\n  # two\n")
	if n := len(p.Lines); n != 4 {
		t.Fatalf("%d lines", n)
	}
	want := []Token{{3, "measure"}, {12, "func=BPRM_CHECK"}}
	got := p.Lines[2].Words
	if p.Lines[2].Number != 3 || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("line %d: %v, want %v", p.Lines[2].Number, got, want)
	}
	for _, i := range []int{0, 1, 3} {
		if p.Lines[i].Words != nil {
			t.Errorf("line %d has words %v", i+1, p.Lines[i].Words)
		}
	}
}

func TestParseTooLarge(t *testing.T) {
	if _, err := Read(bytes.NewReader(make([]byte, MaxSize+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if _, err := Read(bytes.NewReader(make([]byte, MaxSize))); err != nil {
		t.Error(err)
	}
}
