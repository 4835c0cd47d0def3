// Package quote makes text from outside harmless for a terminal and a log: names of files,
// subjects of certificates, fields of packages, lines of policies. A control sequence in such
// text could change the window's title, move the cursor or recolour the output. A newline
// could add a line that the program did not write. A bidirectional override could show a name
// in another order.
//
// The program prints text for people with [Fprintf], which keeps newlines of the format and
// quotes those of the arguments. It prints errors with [Error], which keeps the newlines of
// joined errors and quotes others. [JSON] makes JSON documents harmless.
package quote

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with unprintable characters, newlines included, escaped as in a Go string:
// \n, \x1b, \u202e. Bytes that are not UTF-8 are escaped too, such as \x9b. The result is one
// line.
func Text(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if printable(r, size) {
			b.WriteString(s[:size])
		} else {
			b.WriteString(strings.Trim(strconv.Quote(s[:size]), `"`))
		}
		s = s[size:]
	}
	return b.String()
}

// Name returns a name unchanged if all of it is printable. Otherwise it returns the name as a
// quoted Go string, which shows where the name begins and ends.
func Name(s string) string {
	if plain(s) {
		return s
	}
	return strconv.Quote(s)
}

func plain(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); !printable(r, size) {
				return false
			}
		}
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// printable reports whether r is printable. size is the number of bytes of r: an invalid
// sequence is a utf8.RuneError of size 1.
func printable(r rune, size int) bool {
	return unicode.IsPrint(r) && (r != utf8.RuneError || size > 1)
}

// Error returns the quoted text of an error. Joined errors ([errors.Join], [Below]) and those
// that a method Lines() []error returns are on separate lines. Newlines in the text of a
// single error are quoted, because they come from outside, such as from the path of an
// [io/fs.PathError].
func Error(err error) string {
	text := err.Error()
	switch e := err.(type) { //nolint:errorlint // the function unwraps step by step itself
	case interface{ Lines() []error }:
		lines := e.Lines()
		return around(errors.Join(lines...).Error(), lines)
	case interface{ Unwrap() []error }:
		return around(text, e.Unwrap())
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return around(text, []error{inner})
		}
	}
	return Text(text)
}

// around quotes the text of an error, and each wrapped error in it separately.
func around(text string, wrapped []error) string {
	if plain(text) {
		return text
	}
	texts := make([]string, len(wrapped))
	for i, err := range wrapped {
		texts[i] = err.Error()
	}
	joined := len(wrapped) > 0 && text == strings.Join(texts, "\n")
	var b strings.Builder
	for i, err := range wrapped {
		before, after, found := strings.Cut(text, texts[i])
		if !found {
			break // the text does not contain that of the wrapped error
		}
		if joined {
			before = ""
			if i > 0 {
				b.WriteByte('\n')
			}
		}
		b.WriteString(Text(before) + Error(err))
		text = after
	}
	return b.String() + Text(text)
}

// heading is an error whose text ends in a colon.
type heading struct{ error }

func (h heading) Error() string { return h.error.Error() + ":" }
func (h heading) Unwrap() error { return h.error }

// Heading returns err with a colon after its text, to be joined with errors on the following
// lines.
func Heading(err error) error { return heading{err} }

// Below returns an error with the text of err and a colon, and with indented lines below it.
func Below(err error, lines ...string) error {
	all := []error{Heading(err)}
	for _, line := range lines {
		all = append(all, errors.New("  "+line))
	}
	return errors.Join(all...)
}

// Sprintf formats as [fmt.Sprintf] does. It quotes the text of each argument with Text or, if
// the argument is an error, with Error.
func Sprintf(format string, args ...any) string {
	if false {
		_ = fmt.Sprintf(format, args...) // go vet shall check the formats
	}
	quoted := make([]any, len(args))
	for i, a := range args {
		quoted[i] = argument{a}
		if _, number := a.(int); number { // it may be a width
			quoted[i] = a
		}
	}
	return fmt.Sprintf(format, quoted...)
}

// Fprintf writes what [Sprintf] returns.
func Fprintf(w io.Writer, format string, args ...any) (int, error) {
	if false {
		_ = fmt.Sprintf(format, args...) // go vet shall check the formats
	}
	return io.WriteString(w, Sprintf(format, args...))
}

// argument formats its value and then quotes the text.
type argument struct{ value any }

func (a argument) Format(s fmt.State, verb rune) {
	var text string
	if err, is := a.value.(error); is && (verb == 'v' || verb == 's') {
		text = Error(err)
	} else {
		text = Text(fmt.Sprintf(fmt.FormatString(s, verb), a.value))
	}
	_, _ = io.WriteString(s, text) // Format cannot return an error
}

// JSON returns a JSON document in which characters that a terminal may obey are \u escapes.
// encoding/json does not escape DEL, C1 controls and bidirectional overrides. The meaning of
// the document does not change, because such characters occur only in strings.
func JSON(document []byte) []byte {
	var out []byte
	for i := 0; i < len(document); {
		r, size := utf8.DecodeRune(document[i:])
		if r == '\n' || r == '\t' || printable(r, size) || size == 1 && r == utf8.RuneError {
			out = append(out, document[i:i+size]...)
		} else {
			out = appendEscape(out, r)
		}
		i += size
	}
	return out
}

func appendEscape(out []byte, r rune) []byte {
	if r < 0x10000 {
		return fmt.Appendf(out, `\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
}
