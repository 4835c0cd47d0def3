package tarball

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Prefixes of the keys of xattrs in pax records. star's has the raw value. GNU tar writes
// it, and all programs read it. libarchive's has the URL-encoded name and the value in
// base64.
const (
	keySCHILY     = "SCHILY.xattr."
	keyLIBARCHIVE = "LIBARCHIVE.xattr."
)

// record is one pax record as it is in the archive: "LENGTH KEY=VALUE\n".
type record struct {
	raw   []byte
	equal int // offset of "="
	start int // offset of the key
}

func (r record) key() string { return string(r.raw[r.start:r.equal]) }

func (r record) value() []byte { return r.raw[r.equal+1 : len(r.raw)-1] }

func (r record) isSparse() bool { return strings.HasPrefix(r.key(), "GNU.sparse.") }

// xattr returns the name of the xattr that the record holds.
func (r record) xattr() (name string, ok bool) {
	if name, ok = strings.CutPrefix(r.key(), keySCHILY); ok {
		return name, true
	}
	if name, ok = strings.CutPrefix(r.key(), keyLIBARCHIVE); ok {
		if plain, err := url.PathUnescape(name); err == nil {
			name = plain
		}
	}
	return name, ok
}

// xattrValue decodes the value of a record that holds an xattr.
func (r record) xattrValue() ([]byte, error) {
	if !strings.HasPrefix(r.key(), keyLIBARCHIVE) {
		return r.value(), nil
	}
	// libarchive writes no padding and reads either.
	value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(r.value()), "="))
	if err != nil {
		return nil, fmt.Errorf("%w: pax record %s: %w", ErrFormat, r.key(), err)
	}
	return value, nil
}

// parseRecords splits the content of an extended header. The records alias text.
func parseRecords(text []byte) ([]record, error) {
	var records []record
	for len(text) > 0 {
		digits, _, found := bytes.Cut(text[:min(len(text), 20)], []byte{' '})
		length, err := strconv.ParseUint(string(digits), 10, 31)
		start := len(digits) + 1
		if !found || err != nil || length > uint64(len(text)) || length < uint64(start)+2 {
			return nil, fmt.Errorf("%w: pax record %.20q", ErrFormat, text)
		}
		r := record{raw: text[:length:length], start: start}
		r.equal = start + bytes.IndexByte(r.raw[start:], '=')
		if r.equal <= start || r.raw[length-1] != '\n' {
			return nil, fmt.Errorf("%w: pax record %.20q", ErrFormat, text)
		}
		records = append(records, r)
		text = text[length:]
	}
	return records, nil
}

// newRecord makes a record. Its length includes the digits of the length.
func newRecord(key string, value []byte) record {
	rest := len(key) + len(value) + len(" =\n")
	length := rest + len(strconv.Itoa(rest))
	if digits := len(strconv.Itoa(length)); rest+digits != length {
		length = rest + digits
	}
	raw := make([]byte, 0, length)
	raw = strconv.AppendInt(raw, int64(length), 10)
	start := len(raw) + 1
	raw = append(append(append(append(append(raw, ' '), key...), '='), value...), '\n')
	return record{raw: raw, start: start, equal: start + len(key)}
}

// value returns the last value of key, which is the valid one, or "".
func value(records []record, key string) string {
	for _, r := range slices.Backward(records) {
		if r.key() == key {
			return string(r.value())
		}
	}
	return ""
}

func parseSize(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: pax record size=%q", ErrFormat, text)
	}
	return n, nil
}

// keyRHT is the key of the record in which GNU tar stores the SELinux label with --selinux.
// GNU tar reads it with --selinux, and adds a zero byte to the label. bsdtar reads it
// without one. If a SCHILY record with the zero byte follows, all programs see that label.
const keyRHT = "RHT." + labelSELinux

const labelSELinux = "security.selinux"

// recorded are the security.* xattrs of an entry's records.
type recorded struct {
	values             map[string][]byte // a SCHILY record comes before a LIBARCHIVE record
	schily, libarchive map[string][]byte
	rht                []byte // the value of keyRHT, unless a SCHILY record replaces it
}

func xattrs(records []record) (x recorded, err error) {
	x = recorded{values: map[string][]byte{}, schily: map[string][]byte{}, libarchive: map[string][]byte{}}
	for _, r := range records {
		if r.key() == keyRHT {
			x.rht = r.value()
		}
		name, ok := r.xattr()
		if !ok || !strings.HasPrefix(name, "security.") {
			continue
		}
		v, err := r.xattrValue()
		if err != nil {
			return x, err
		}
		if strings.HasPrefix(r.key(), keyLIBARCHIVE) {
			x.libarchive[name] = v
			continue
		}
		x.schily[name] = v
		if name == labelSELinux && x.rht != nil && string(v) == string(x.rht)+"\x00" {
			x.rht = nil
		}
	}
	maps.Copy(x.values, x.libarchive)
	maps.Copy(x.values, x.schily)
	return x, nil
}

// differs reports whether some programs see another value of the xattr than others, or none:
// GNU tar does not read LIBARCHIVE records.
func (x *recorded) differs(name string) bool {
	v, there := x.libarchive[name]
	old, both := x.schily[name]
	return there && (!both || !bytes.Equal(old, v))
}

// others returns the xattrs that some programs see with other values than those in values,
// or nil if there are none. They have no value if some programs do not see them.
func (x *recorded) others() (values map[string][]byte) {
	add := func(name string, value []byte) {
		if values == nil {
			values = map[string][]byte{}
		}
		values[name] = value
	}
	for name := range x.libarchive {
		if !x.differs(name) {
			continue
		}
		if add(name, nil); x.schily[name] != nil {
			add(name, x.libarchive[name])
		}
	}
	if x.rht != nil {
		add(labelSELinux, x.rht)
	}
	return values
}

// second returns the xattrs that some programs see, if they differ from values in
// security.ima or security.evm, and nil otherwise. A program that does not read LIBARCHIVE
// records sees less, another one sees other values.
func (x *recorded) second() map[string][]byte {
	signatures := []string{ima.XattrIMA, ima.XattrEVM}
	if !slices.ContainsFunc(signatures, x.differs) {
		return nil
	}
	for _, name := range signatures {
		if _, there := x.schily[name]; !there && x.differs(name) {
			return x.schily
		}
	}
	values := maps.Clone(x.schily)
	maps.Copy(values, x.libarchive)
	return values
}

func hasSignature(xattrs map[string][]byte) bool {
	_, hasIMA := xattrs[ima.XattrIMA]
	_, hasEVM := xattrs[ima.XattrEVM]
	return hasIMA || hasEVM
}

// edit returns the records with the xattrs of values set, or removed if nil, and reports
// whether anything changed. Each value has one SCHILY record. A LIBARCHIVE record with the
// same value is kept.
func edit(records []record, values map[string][]byte) (edited []record, changed bool) {
	written := map[string]bool{}
	for _, r := range records {
		name, isXattr := r.xattr()
		want, listed := values[name]
		if !isXattr || !listed {
			edited = append(edited, r)
			continue
		}
		schily := strings.HasPrefix(r.key(), keySCHILY)
		if v, err := r.xattrValue(); err != nil || want == nil || !bytes.Equal(v, want) || schily && written[name] {
			changed = true
			continue
		}
		written[name] = written[name] || schily
		edited = append(edited, r)
	}
	for _, name := range sortedNames(values) {
		if values[name] != nil && !written[name] {
			edited, changed = append(edited, newRecord(keySCHILY+name, values[name])), true
		}
	}
	return edited, changed
}

func sortedNames(values map[string][]byte) []string {
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
