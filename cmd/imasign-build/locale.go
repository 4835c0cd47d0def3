package main

import (
	"io"
	"strings"

	"github.com/imasign/imasign-build/internal/quote"
)

// utf8 reports whether text for people may be UTF-8: unless the locale has another
// encoding, such as C. Without a locale nothing is known about who reads it.
func (a *app) utf8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value, _ := a.getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return true
}

// readable returns text for people in the encoding of the locale.
func (a *app) readable(text string) string {
	if a.utf8() {
		return text
	}
	return quote.ASCII(text)
}

// forPeople returns a writer of text for people. JSON and files go to w itself.
func (a *app) forPeople(w io.Writer) io.Writer {
	if a.utf8() {
		return w
	}
	return asciiWriter{w}
}

// asciiWriter writes ASCII. Each text that is written must be of whole characters.
type asciiWriter struct{ to io.Writer }

func (w asciiWriter) Write(b []byte) (int, error) {
	if _, err := w.to.Write([]byte(quote.ASCII(string(b)))); err != nil {
		return 0, err
	}
	return len(b), nil
}
