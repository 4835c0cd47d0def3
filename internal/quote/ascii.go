package quote

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// typography is how ASCII writes the punctuation of the program's own texts.
var typography = strings.NewReplacer("…", "...", "“", `"`, "”", `"`, "‘", "'", "’", "'", "–", "-", "—", "-", "→", "->", "≤", "<=")

// ASCII returns text for a locale whose encoding is not UTF-8, such as C: typographic
// punctuation becomes that of ASCII, and everything else an escape as Go writes it in a
// string (\u00e9). Newlines stay.
func ASCII(s string) string {
	if isASCII(s) {
		return s
	}
	s = typography.Replace(s)
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r < utf8.RuneSelf {
			b.WriteByte(s[0])
		} else {
			b.WriteString(strings.Trim(strconv.QuoteToASCII(s[:size]), `"`))
		}
		s = s[size:]
	}
	return b.String()
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
