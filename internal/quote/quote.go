// Package quote makes text that others chose harmless for a terminal and a log: names
// of files, subjects of certificates, fields of packages, lines of policies. A control
// sequence in one could retitle the window, move the cursor or recolour what follows; a
// newline could add a line that the program never wrote; a bidirectional override could
// show a name in another order.
//
// What the program prints for people goes through [Fprintf]: newlines of the format are
// the program's own, those of the arguments are not. Errors go through [Error], which
// tells the two apart by how the errors were joined. JSON and files are not its
// business, except for [JSON].
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

// Text returns s with everything that is not printable, newlines included, as Go
// writes it in a string: \n, \x1b, \u202e. Bytes that are not UTF-8 become \x9b and so
// on. What is left is one line.
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

// Name returns a name as it stands when all of it is printable, else in quotation
// marks as Go writes a string, so that its beginning and end are seen.
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

// printable takes the size into account: one byte is what an invalid sequence has.
func printable(r rune, size int) bool {
	return unicode.IsPrint(r) && (r != utf8.RuneError || size > 1)
}

// Error returns the text of an error. Only errors that were joined ([errors.Join],
// [Below]) and those of a method Lines() []error are on lines of their own; newlines in
// the text of any one of them came from elsewhere, as in the path of an
// [io/fs.PathError].
func Error(err error) string {
	text := err.Error()
	switch e := err.(type) { //nolint:errorlint // each is taken apart
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

// around quotes the text of an error and, each for itself, the errors that it wraps.
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
			break // it says something else: all that is left is its own text
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

// Heading returns err with a colon behind its text, to be joined with the errors that
// follow on lines of their own.
func Heading(err error) error { return heading{err} }

// Below returns err, a colon, and lines of detail below it, indented.
func Below(err error, lines ...string) error {
	all := []error{Heading(err)}
	for _, line := range lines {
		all = append(all, errors.New("  "+line))
	}
	return errors.Join(all...)
}

// Sprintf formats as [fmt.Sprintf] does. The text of every argument is quoted as Text
// or, if it is an error, as Error does.
func Sprintf(format string, args ...any) string {
	if false {
		_ = fmt.Sprintf(format, args...) // go vet shall check the formats
	}
	quoted := make([]any, len(args))
	for i, a := range args {
		quoted[i] = argument{a}
		if _, number := a.(int); number { // which may be a width
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

// argument formats its value, then quotes.
type argument struct{ value any }

func (a argument) Format(s fmt.State, verb rune) {
	var text string
	if err, is := a.value.(error); is && (verb == 'v' || verb == 's') {
		text = Error(err)
	} else {
		text = Text(fmt.Sprintf(fmt.FormatString(s, verb), a.value))
	}
	_, _ = io.WriteString(s, text) // nobody could be told
}

// JSON returns a document with what a terminal might obey in it as \u escapes. The
// encoder leaves DEL, C1 controls and bidirectional overrides as they are. The document
// means the same: such characters stand in strings alone.
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
