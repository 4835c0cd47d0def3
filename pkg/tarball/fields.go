package tarball

import (
	"bytes"
	"fmt"
	"strings"
)

// check refuses a header block whose fields programs read differently. It applies to every
// header, extended headers included.
func (b *block) check() error {
	for _, f := range []struct {
		name     string
		from, to int
		least    int64
		bits     int
	}{
		{"mode", 100, 108, 0, 21}, {"uid", 108, 116, 0, 32}, {"gid", 116, 124, 0, 32}, {"size", 124, 136, 0, 63},
		{"mtime", 136, 148, -1 << 63, 63}, {"device major", 329, 337, 0, 32}, {"device minor", 337, 345, 0, 32},
	} {
		n, err := number(b[f.from:f.to])
		if err != nil || n < f.least || n > 1<<f.bits-1 {
			return fmt.Errorf("%w: %s field %q", ErrFormat, f.name, b[f.from:f.to])
		}
	}
	magic := b[257:265]
	switch {
	case b.isGNU():
		return b.checkGNU()
	case b.isUSTAR():
		if string(magic[6:]) != "00" && b[345] != 0 {
			return fmt.Errorf("%w: a name prefix in version %q of ustar", ErrAmbiguous, magic[6:])
		}
	case bytes.HasPrefix(magic, []byte("ustar")):
		return fmt.Errorf("%w: magic %q", ErrAmbiguous, magic)
	}
	return nil
}

// checkGNU checks the fields that GNU headers have in place of ustar's prefix: two times,
// and the map of a sparse file, which bsdtar obeys in entries of any type.
func (b *block) checkGNU() error {
	for _, from := range []int{345, 357} {
		if _, err := number(b[from : from+12]); err != nil {
			return fmt.Errorf("%w: time %q in a GNU header, or a prefix", ErrAmbiguous, b[from:from+12])
		}
	}
	if b.typeflag() != typeSparse && !isZero(b[386:495]) {
		return fmt.Errorf("%w: a sparse map in an entry of type %q", ErrAmbiguous, b.typeflag())
	}
	return nil
}

// isStar reports whether GNU tar reads the header as star's form of a ustar header.
func (b *block) isStar() bool {
	octal := func(c byte) bool { return '0' <= c && c <= '7' }
	return b[475] == 0 && octal(b[476]) && b[487] == ' ' && octal(b[488]) && b[499] == ' '
}

// name returns the name in the header block.
func (b *block) name() string {
	name := cString(b[:100])
	if prefix := cString(b[345:500]); b.isUSTAR() && prefix != "" {
		return prefix + "/" + name
	}
	return name
}

func (b *block) linkname() string { return cString(b[157:257]) }

func cString(field []byte) string {
	text, _, _ := bytes.Cut(field, []byte{0})
	return string(text)
}

// longName reads the payload of a GNU long name. It also gets the padding after the payload,
// because GNU tar continues into the padding if no zero ends the name.
func longName(payload, padding []byte) (string, error) {
	name := cString(payload)
	if name == "" || !isZero(payload[len(name):]) || !isZero(padding) {
		return "", fmt.Errorf("%w: the GNU long name %q is empty or does not end there", ErrAmbiguous, name)
	}
	return name, nil
}

// strippedName returns the name that bsdtar extracts: it removes roots, drive letters, and
// ".." after a root (libarchive's tar/util.c).
func strippedName(name string) string {
	isSlash := func(at int) bool { return at < len(name) && (name[at] == '/' || name[at] == '\\') }
	if isSlash(0) && isSlash(1) && len(name) > 2 && strings.ContainsRune(".?", rune(name[2])) && isSlash(3) {
		name = name[3:]
	}
	for before := ""; name != before; {
		before = name
		if len(name) > 1 && name[1] == ':' && 'a' <= name[0]|0x20 && name[0]|0x20 <= 'z' {
			name = name[2:]
		}
		for isSlash(0) {
			switch name = name[1:]; {
			case strings.HasPrefix(name, "..") && isSlash(2):
				name = name[2:]
			case strings.HasPrefix(name, ".") && isSlash(1):
				name = name[1:]
			}
		}
	}
	return name
}

// checkName refuses a name that programs extract to different files.
func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: an entry without a name", ErrAmbiguous)
	}
	if cleanPath(name) != cleanPath(strippedName(name)) {
		return fmt.Errorf("%w: the name %q, whose beginning bsdtar removes", ErrAmbiguous, name)
	}
	return nil
}
