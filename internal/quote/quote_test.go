package quote_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/imasign/imasign-build/internal/quote"
)

// hostile has harmful characters of each kind: C0, DEL, C1 as a character and as a byte, a
// newline, a bidirectional override and isolate, both Unicode line ends, an invalid sequence.
const hostile = "a\x1b]0;pwn\x07\x7f\u009b31m\x9b\nimasign-build: ok\r\u202e\u2066\u2028\u2029\ufeff\xe2\x80"

func oneHarmlessLine(t testing.TB, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is not one harmless line", text)
	}
}

func TestText(t *testing.T) {
	want := `a\x1b]0;pwn\a\x7f\u009b31m\x9b\nimasign-build: ok\r\u202e\u2066\u2028\u2029\ufeff\xe2\x80`
	if got := quote.Text(hostile); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := quote.Name(hostile); got != `"`+want+`"` {
		t.Errorf("got  %s\nwant %q", got, want)
	}
	for _, same := range []string{"", "/usr/bin/[", `C:\x "quoted"`, "Größe – 大きさ", "\ufffd"} {
		if quote.Text(same) != same || quote.Name(same) != same {
			t.Errorf("%q became %q, %q", same, quote.Text(same), quote.Name(same))
		}
	}
}

// several is an error whose Lines are not all errors that it wraps.
type several []error

func (s several) Lines() []error {
	return []error{quote.Heading(errors.New("2 failed")), fmt.Errorf("  %w", s[0])}
}
func (s several) Error() string   { return errors.Join(s.Lines()...).Error() }
func (s several) Unwrap() []error { return s }

func TestErrorsKeepTheLinesThatTheProgramJoined(t *testing.T) {
	open := fmt.Errorf("open key: %w", &fs.PathError{Op: "open", Path: "x\ny\x1b", Err: os.ErrNotExist})
	opened := `open key: open x\ny\x1b: file does not exist`
	for want, err := range map[string]error{
		opened:                           open,
		opened + "\nnothing was changed": errors.Join(open, errors.New("nothing was changed")),
		"sign: " + opened + "\nnothing":  fmt.Errorf("sign: %w", errors.Join(open, errors.New("nothing"))),
		"a:\n  b\n  c\\nd":               quote.Below(errors.New("a"), "b", "c\nd"),
		`p\nq: ` + opened + ` (EOF\n)`:   fmt.Errorf("p\nq: %w (%w)", open, errors.New("EOF\n")),
		`says something else\n`:          other{},
		"tree: 2 failed:\n  " + opened:   fmt.Errorf("tree: %w", several{open}),
		"2 failed:\nfirst\\n\n" + opened: errors.Join(errors.New("2 failed:"), errors.Join(errors.New("first\n"), open)),
	} {
		if got := quote.Error(err); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// other wraps an error, but its text does not contain the wrapped error's.
type other struct{}

func (other) Error() string { return "says something else\n" }
func (other) Unwrap() error { return errors.New("hidden") }

func TestFormats(t *testing.T) {
	got := quote.Sprintf("%-4s|%q|%d|%v|%5.1f|%x\n", "é\n", "\x1b", 7, []string{"a\nb"}, 1.25, "\n")
	if want := "é\\n  |\"\\x1b\"|7|[a\\nb]|  1.2|0a\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = quote.Sprintf("%v: %s", errors.Join(errors.New("a\n"), errors.New("b")), fmt.Stringer(named("c\n")))
	if want := "a\\n\nb: c\\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

type named string

func (n named) String() string { return string(n) }

func TestJSONMeansTheSame(t *testing.T) {
	text, err := json.Marshal(map[string]string{hostile: hostile + "\U000e0001é"})
	if err != nil {
		t.Fatal(err)
	}
	quoted := quote.JSON(text)
	oneHarmlessLine(t, string(quoted))
	var before, after map[string]string
	if err := errors.Join(json.Unmarshal(text, &before), json.Unmarshal(quoted, &after)); err != nil {
		t.Fatal(err)
	}
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%q became %q", value, after[name])
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add(hostile)
	f.Fuzz(func(t *testing.T, s string) {
		oneHarmlessLine(t, quote.Text(s))
		oneHarmlessLine(t, quote.Name(s))
		oneHarmlessLine(t, quote.Error(fmt.Errorf("%s: %w", s, errors.New(s))))
	})
}

func ExampleFprintf() {
	_, _ = quote.Fprintf(os.Stdout, "%s: %s\n", "a\x1b[2Jname\nok", "unsigned")
	// Output: a\x1b[2Jname\nok: unsigned
}
