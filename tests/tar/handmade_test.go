package tar

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/tarball"
)

// handMade returns archives of one file, each with one thing wrong: every text in every
// field, every type flag, every value of every keyword.
func handMade() map[string][]byte {
	all := bases()
	for _, field := range fields {
		for _, text := range fieldTexts {
			all[fmt.Sprintf("%q in field %d", text, field[0])] = wrongField(field, text)
		}
	}
	for kind := range 256 {
		for _, content := range []string{"", string(evil())} {
			all[fmt.Sprintf("type %d with %d bytes", kind, len(content))] = ended(hdr{name: "bin/a", typeflag: string(rune(kind))[:1]}.file(content), hdr{name: "last"}.file("last"))
		}
	}
	for _, keyword := range keywords {
		for _, value := range recordValues {
			all[fmt.Sprintf("record %s=%q", keyword, value)] = ended(paxHeader(record(keyword, value)), hdr{name: "bin/a"}.file(string(evil())), hdr{name: "last"}.file("last"))
		}
	}
	return all
}

func wrongField(field [2]int, text string) []byte {
	b := hdr{name: "bin/a", size: octal(24)}.block()
	clear(b[field[0] : field[0]+field[1]])
	copy(b[field[0]:field[0]+field[1]], text)
	if field[0] != 148 {
		checksummed(b)
	}
	return ended(b, filled([]byte("content of 24 bytes.....")), hidden(), hdr{name: "last"}.file("last"))
}

const gnuMagic = "ustar  \x00"

// ambiguous returns archives that GNU tar and bsdtar read differently, or in which one of
// them finds a file that we once overlooked. Each comes with a part of our error.
func ambiguous() map[string]struct {
	says    string
	archive []byte
} {
	type c = struct {
		says    string
		archive []byte
	}
	file, a, xattr := hdr{name: "bin/b"}.file("text"), hdr{name: "bin/a"}.file("text"), record("SCHILY.xattr.security.ima", "\x04\x04stale")
	with := func(records ...string) []byte { return ended(paxHeader(records...), a, file) }
	sized := func(size string) []byte { return ended(hdr{name: "bin/a", size: size}.file("text"), file) }
	tail := func(at int, text string) string { return strings.Repeat("\x00", at-345) + text }
	return map[string]c{
		"hard link with content":              {"type '1' with content", ended(a, hdr{name: "bin/l", typeflag: "1", link: "bin/a"}.file("text"), file)},
		"hard link with a size in a record":   {"type '1' with content", ended(a, paxHeader(record("size", "512")), hdr{name: "bin/l", typeflag: "1", link: "bin/a"}.block(), file)},
		"symbolic link with content":          {"type '2' with content", ended(hdr{name: "bin/l", typeflag: "2", link: "bin/a"}.file("text"), file)},
		"hard link to nothing, in the header": {"names no target", ended(a, paxHeader(record("linkpath", "bin/a")), hdr{name: "bin/l", typeflag: "1"}.block())},
		"symbolic link to nothing":            {"names no target", ended(a, hdr{name: "bin/l", typeflag: "2"}.block())},
		"symbolic link, but for its record":   {"names no target", ended(a, paxHeader(record("linkpath", "\u6f22")), hdr{name: "bin/l", typeflag: "2"}.block())},
		"device of two numbers":               {"another one", ended(paxHeader(record("SCHILY.devminor", "5")), hdr{name: "dev/a", typeflag: "3"}.block(), a)},
		"link that is a directory":            {"mode of a directory", ended(a, hdr{name: "bin/l", typeflag: "1", link: "bin/a", mode: "0040755\x00"}.block())},
		"file with a link's target":           {"target of a link", with(record("linkpath", "bin/b"))},
		"file with a long link":               {"target of a link", ended(gnuLong("K", "bin/b"), a, file)},
		"signed link to an unknown file":      {"signed hard link to", ended(a, paxHeader(xattr), hdr{name: "bin/l", typeflag: "1", link: "bin/x"}.block())},
		"signed link to one of two":           {"which appears twice", ended(a, a, paxHeader(xattr), hdr{name: "bin/l", typeflag: "1", link: "bin/a"}.block())},
		"long name and path":                  {"another one in a pax record", ended(gnuLong("L", "bin/long"), paxHeader(record("path", "bin/path")), a)},
		"path and long name":                  {"another one in a pax record", ended(paxHeader(record("path", "bin/path")), gnuLong("L", "bin/long"), a)},
		"long name that goes on":              {"the GNU long name", ended(append(hdr{name: "L", typeflag: "L"}.file("bin/long")[:520], append([]byte("er"), make([]byte, 502)...)...), a)},
		"empty long name":                     {"the GNU long name", ended(gnuLong("L", ""), a)},
		"size +4":                             {"size field", sized("+4")},
		"size of blanks":                      {"size field", sized(strings.Repeat(" ", 12))},
		"size behind a zero":                  {"size field", sized("\x000000000004")},
		"size behind a tab":                   {"size field", sized("\t4\x00")},
		"size with something behind it":       {"size field", sized("00000000004\x01")},
		"negative size":                       {"size field", sized(strings.Repeat("\xff", 12))},
		"base-256 with other bits":            {"size field", sized("\x90" + strings.Repeat("\x00", 10) + "\x04")},
		"record size empty":                   {"size=", with(record("size", ""))},
		"record size +4":                      {"size=", with(record("size", "+4"))},
		"record size of many digits":          {"size=", with(record("size", "18446744073709551620"))},
		"record uid of blanks":                {"uid=", with(record("uid", " 0"))},
		"record path empty":                   {"path=", with(record("path", ""))},
		"record behind two blanks":            {"with the key", with(record(" path", "bin/x"))},
		"record with a zero in the key":       {"with the key", with(record("path\x00", "bin/x"))},
		"record with a zero in a number":      {"with a zero byte", with(record("size", "4\x005"))},
		"records that differ":                 {"twice", with(xattr, record("SCHILY.xattr.security.ima", "other"))},
		"paths that differ":                   {"twice", with(record("path", "bin/x"), record("path", "bin/y"))},
		"a name cut by a zero":                {"pax record \"LIBARCHIVE", with(record("LIBARCHIVE.xattr.security.ima%00x", "BARzdGFsZQ"))},
		"SCHILY.realsize":                     {"SCHILY.realsize", with(record("SCHILY.realsize", "2"))},
		"SUN.holesdata":                       {"SUN.holesdata", with(record("SUN.holesdata", " 0 2"))},
		"SCHILY.filetype":                     {"SCHILY.filetype", with(record("SCHILY.filetype", "sparse"))},
		"a sparse name alone":                 {"sparse map", with(record("GNU.sparse.name", "bin/x"))},
		"a sparse size alone":                 {"sparse map", with(record("GNU.sparse.realsize", "2"))},
		"a sparse map of type 7":              {"GNU.sparse.size", ended(paxHeader(record("GNU.sparse.size", "4"), record("GNU.sparse.numblocks", "1"), record("GNU.sparse.map", "0,4")), hdr{name: "a", typeflag: "7"}.file("text"))},
		"a sparse map with a comment":         {"sparse map", ended(paxSparse([]int{1, 0, 1}, 1, "x")[:1024], hdr{name: "s"}.file(string(filled([]byte("#\n1\n0\n1\n")))+"x"))},
		"spans that do not fill blocks":       {"sparse map", ended(gnuSparse([][2]int{{0, 3}, {1024, 3}}, 1027, "onetwo"))},
		"spans out of order":                  {"sparse map", ended(gnuSparse([][2]int{{1024, 512}, {0, 512}}, 1536, strings.Repeat("x", 1024)))},
		"a hole behind the last span":         {"sparse map", ended(gnuSparse([][2]int{{0, 512}}, 1024, strings.Repeat("x", 512)))},
		"content behind the last span":        {"sparse map", ended(gnuSparse([][2]int{{0, 512}}, 512, strings.Repeat("x", 600)))},
		"a sparse file without a map":         {"sparse map", ended(gnuSparse(nil, 512, ""))},
		"a map in a file of type 0":           {"a sparse map in an entry of type '0'", ended(hdr{name: "a", magic: gnuMagic, tail: tail(483, octal(2))}.file("text"))},
		"a sparse file that is star's":        {"not GNU's", ended(hdr{name: "a", typeflag: "S"}.file("text"))},
		"a prefix in a GNU header":            {"or a prefix", ended(hdr{name: "a", magic: gnuMagic, tail: "prefix"}.file("text"))},
		"a prefix in another version":         {"version", ended(hdr{name: "a", magic: "ustar\x00 1", tail: "prefix"}.file("text"))},
		"half a magic":                        {"magic", ended(hdr{name: "a", magic: "ustar 00", tail: "prefix"}.file("text"))},
		"an ACL of Solaris":                   {"type 'A'", ended(hdr{name: "a", typeflag: "A"}.file("1000001\x00user::rwx\x00"), a)},
		"a list of names":                     {"type 'N'", ended(hdr{name: "a", typeflag: "N"}.file("text"))},
		"a vendor's type":                     {"type 'Z'", ended(hdr{name: "a", typeflag: "Z"}.file("text"))},
		"a file from another volume":          {"another volume", ended(hdr{name: "a", typeflag: "M"}.file("text"))},
		"a label with content":                {"a label with content", ended(hdr{name: "a", typeflag: "V"}.file("text"))},
		"a label with a header":               {"a label with content", ended(paxHeader(record("path", "b")), hdr{name: "a", typeflag: "V"}.block(), a)},
		"a directory with content":            {"a directory with content", ended(hdr{name: "bin/"}.file("text"))},
		"a file with a directory's record":    {"a directory of type '0'", ended(paxHeader(record("path", "bin/")), hdr{name: "bin"}.block())},
		"a sparse file with a directory's":    {"a directory with content", ended(append(paxHeader(record("path", "bin/")), gnuSparse([][2]int{{0, 4}}, 4, "text")...))},
		"a file without a name":               {"archive's root", ended(hdr{}.file("text"))},
		"a file that is the root":             {"archive's root", ended(hdr{name: "."}.file("text"))},
		"a drive letter":                      {"bsdtar removes", ended(hdr{name: "c:bin"}.file("text"))},
		"a root and a drive letter":           {"bsdtar removes", ended(hdr{name: "/./c:bin"}.file("text"))},
		"a parent of the root":                {"bsdtar removes", ended(hdr{name: "/../bin"}.file("text"))},
		"a backslash":                         {"bsdtar removes", ended(hdr{name: `\bin`}.file("text"))},
		"a path for all":                      {"a global header sets", ended(hdr{name: "g", typeflag: "g"}.file(record("path", "x")), a)},
		"a real size for all":                 {"a global header sets", ended(hdr{name: "g", typeflag: "g"}.file(record("SCHILY.realsize", "2")), a)},
		"a charset for all":                   {"a global header sets", ended(hdr{name: "g", typeflag: "g"}.file(record("hdrcharset", "BINARY")), a)},
		"forty global headers":                {"headers in a row", ended([]byte(strings.Repeat(string(hdr{name: "g", typeflag: "g"}.file(record("comment", "x"))), 40)), a)},
		"nothing, then something":             {"ends before its first entry", append(make([]byte, 1024), a...)},
		"an archive that is gzip as well":     {"as gzip does", ended(hdr{name: "\x1f\x8b\x08\x04bin"}.file("text"))},
		"an archive that is compress as well": {"as compress does", ended(hdr{name: "\x1f\x9d\x90bin"}.file("text"))},
		"an archive that is lzma as well":     {"as lzma does", ended(hdr{name: "]\x00"}.file("text"))},
		"an archive that is text as well":     {"as uuencode does", ended(hdr{name: "x\nbegin 644 x\nM" + strings.Repeat("x", 60)}.file("text"))},
		"an archive that is ar as well":       {"as ar does", ended(hdr{name: "!<arch>\n"}.file("text"))},
	}
}

// TestAmbiguous checks that signing and verification refuse each of them and name the
// reason.
func TestAmbiguous(t *testing.T) {
	d := newDifferential(t)
	for name, c := range ambiguous() {
		_, signed := d.sign(c.archive)
		for _, err := range []error{signed, d.verify(c.archive)} {
			if err == nil || !strings.Contains(err.Error(), c.says) || !errors.Is(err, tarball.ErrAmbiguous) && !errors.Is(err, tarball.ErrFormat) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestTypeBits checks that an entry for a regular file is signed whatever type its mode
// states, because it becomes a regular file.
func TestTypeBits(t *testing.T) {
	d := newDifferential(t)
	for _, mode := range []string{"0010755", "0020755", "0040755", "0060755", "0100755", "0120755", "0140755", "0170755"} {
		text := ended(hdr{name: "bin/evil", mode: mode + "\x00"}.file(evilContent))
		if err := d.verify(text); !errors.Is(err, errUnsigned) {
			t.Errorf("mode %s: unsigned, verified: %v", mode, err)
		}
		out, err := d.sign(text)
		check(t, err)
		check(t, d.verify(out))
		d.extract("mode "+mode, out)
	}
}
