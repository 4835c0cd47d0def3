package tarball

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxRecord is the maximum size of a pax record in bytes. bsdtar ignores larger ones.
const maxRecord = 999_999

// harmless are the keywords of vendors that do not affect a file's content. Other keywords
// of these vendors do, and no program obeys all of them.
var harmless = []string{
	"GNU.volume.label", "GNU.dumpdir", "SCHILY.acl.access", "SCHILY.acl.default", "SCHILY.acl.ace", "SCHILY.fflags",
	"SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.devmajor", "SCHILY.devminor", "LIBARCHIVE.creationtime", "LIBARCHIVE.symlinktype",
}

// global are the POSIX keywords that a global header may set. GNU tar applies them to all
// entries, and bsdtar ignores them. For owners, this package does as GNU tar does.
var global = []string{"comment", "charset", "atime", "ctime", "mtime", "uid", "gid", "uname", "gname"}

var paxTime = regexp.MustCompile(`^-?[0-9]+(\.[0-9]*)?$`)

// check refuses a record that programs read differently. Records of sparse files are
// checked together with the map.
func (r record) check() error {
	key, value := r.key(), r.value()
	_, isXattr := r.xattr()
	switch {
	case len(r.raw) > maxRecord:
		return fmt.Errorf("pax record %.40q: %w (%d bytes)", key, ErrTooLarge, maxRecord)
	case strings.ContainsRune(key, 0) || strings.HasPrefix(key, " ") || strings.HasPrefix(key, "\t"):
		return fmt.Errorf("%w: pax record with the key %.40q", ErrAmbiguous, key)
	case isXattr:
		return r.checkXattr()
	case r.isVendor() && !r.isSparse() && !slices.Contains(harmless, key):
		return fmt.Errorf("%w: pax record %.40q", ErrAmbiguous, key)
	case key != "GNU.dumpdir" && (r.isVendor() || !strings.Contains(key, ".")) && bytes.ContainsRune(value, 0):
		return fmt.Errorf("%w: pax record %.40q with a zero byte", ErrAmbiguous, key)
	}
	return r.checkValue()
}

// isVendor reports whether the record's key belongs to a vendor that has keywords that
// affect content.
func (r record) isVendor() bool {
	vendor, _, _ := strings.Cut(r.key(), ".")
	return slices.Contains([]string{"GNU", "SCHILY", "SUN", "LIBARCHIVE"}, vendor)
}

func (r record) checkValue() (err error) {
	switch value := string(r.value()); r.key() {
	case "path", "linkpath", "GNU.sparse.name":
		if value == "" {
			err = strconv.ErrSyntax
		}
	case "size":
		_, err = decimal(value, 63)
	case "uid", "gid":
		_, err = decimal(value, 32)
	case "atime", "ctime", "mtime":
		if !paxTime.MatchString(value) {
			err = strconv.ErrSyntax
		}
	}
	if err != nil {
		return fmt.Errorf("%w: pax record %s=%.40q", ErrAmbiguous, r.key(), r.value())
	}
	return nil
}

// checkXattr checks the key and value of a libarchive record. The URL-encoded name may hide
// a zero, which would end the name of the xattr. Programs decode the base64 value more or
// less strictly.
func (r record) checkXattr() error {
	name, isLibarchive := strings.CutPrefix(r.key(), keyLIBARCHIVE)
	if !isLibarchive {
		return nil
	}
	plain, err := url.PathUnescape(name)
	if err != nil || strings.ContainsRune(plain, 0) || bytes.ContainsAny(r.value(), "\r\n") {
		return fmt.Errorf("%w: pax record %.60q", ErrAmbiguous, r.key())
	}
	_, err = r.xattrValue()
	return err
}

// checkRecords checks each record of an entry, and that no key appears with two different
// values, of which some programs take the first and others the last.
func checkRecords(records []record) error {
	values := map[string][]byte{}
	for _, r := range records {
		if err := r.check(); err != nil {
			return err
		}
		key := r.key()
		if name, ok := r.xattr(); ok {
			key = key[:strings.Index(key, ".xattr.")+len(".xattr.")] + name
		}
		old, twice := values[key]
		if repeats := key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes"; twice && !repeats && !bytes.Equal(old, r.value()) {
			return fmt.Errorf("%w: pax record %.40q twice", ErrAmbiguous, key)
		}
		values[key] = r.value()
	}
	return nil
}

// checkGlobal refuses records of a global header that only some programs apply to all
// entries.
func checkGlobal(records []record) error {
	for _, r := range records {
		_, isXattr := r.xattr()
		isPOSIX := !strings.Contains(r.key(), ".")
		if isXattr || r.key() == keyRHT || r.key() != "GNU.volume.label" && r.isVendor() || isPOSIX && !slices.Contains(global, r.key()) {
			return fmt.Errorf("%w: a global header sets %.40q for all entries", ErrAmbiguous, r.key())
		}
	}
	return checkRecords(records)
}

// decimal reads a number that has only digits, without a sign or spaces.
func decimal(text string, bits int) (int64, error) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	n, err := strconv.ParseUint(text, 10, bits)
	return int64(n), err
}
