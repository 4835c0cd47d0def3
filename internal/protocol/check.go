package protocol

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName returns nil if name is the name of a key: 1 to [MaxName] letters, digits, ".", "_"
// and "-" of ASCII, not beginning with "." or "-". So it is one segment of a URL and of a path.
// Errors wrap [ErrMalformed].
func CheckName(name string) error {
	return checkName("the name of the key", name)
}

func checkName(what, name string) error {
	other := func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r)
	}
	if name == "" || len(name) > MaxName || strings.ContainsRune(".-", rune(name[0])) || strings.ContainsFunc(name, other) {
		return fmt.Errorf("%w: %s must have 1 to %d letters, digits, dots, underscores and hyphens, and not begin with a dot or hyphen", ErrMalformed, what, MaxName)
	}
	return nil
}

// CheckOrigin returns nil if name is the origin of an approval: one line of 1 to [MaxName] bytes of
// UTF-8, without controls. Errors wrap [ErrMalformed].
func CheckOrigin(name string) error {
	if name == "" {
		return fmt.Errorf("%w: the origin is empty", ErrMalformed)
	}
	return checkText("the origin", name, MaxName)
}

// checkAudience accepts host:port: visible ASCII.
func checkAudience(name string) error {
	if name == "" || len(name) > MaxName || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w: the audience must have 1 to %d visible characters of ASCII", ErrMalformed, MaxName)
	}
	return nil
}

// checkText accepts one line of UTF-8 of at most limit bytes, also an empty one.
func checkText(what, text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, notInLine) {
		return fmt.Errorf("%w: %s must be one line of at most %d bytes", ErrMalformed, what, limit)
	}
	return nil
}

// notInLine finds controls, and what separates lines or reorders text without being seen.
func notInLine(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
}

func checkVersion(version uint64) error {
	if version != Version {
		return fmt.Errorf("%w: it has version %d, this program has version %d", ErrMalformed, version, Version)
	}
	return nil
}

// checkTime accepts seconds up to the end of year 9999, the last that RFC 3339 can write.
func checkTime(seconds int64) error {
	if seconds < 0 || seconds > 253402300799 {
		return fmt.Errorf("%w: no time is %d seconds after 1970", ErrMalformed, seconds)
	}
	return nil
}

func checkSize(what string, b []byte, size int) error {
	if len(b) != size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrMalformed, what, len(b), size)
	}
	return nil
}

func checkLength(what string, b []byte, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrMalformed, what, len(b), limit)
	}
	return nil
}

func checkSizeOf(message []byte, limit int) error { return checkLength("it", message, limit) }

// first returns the first error of a list, or nil.
func first(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}
