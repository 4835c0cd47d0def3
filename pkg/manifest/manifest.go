// Package manifest is the format in which a container's files, their digests and
// their signatures are written down: for a dry run, for signing where the files
// are not, for audit, as reference values.
//
// A manifest is JSON Lines. Each container (a tree, a package, an archive) has
// one header line, then one line an entry, sorted by the bytes of the path. The
// rendering is canonical: equal content gives equal bytes, nothing in it depends
// on the clock or on the directory it was made in. The package knows the format
// alone; making plans and attaching them is for pkg/signing and the containers.
package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Version is the format's version, the value of a header's first key.
const Version = 1

// ErrFormat means that the input is not a manifest of a version known here.
var ErrFormat = errors.New("not a valid manifest")

// Header opens a container's lines.
type Header struct {
	Tool      string // name and version of the program that wrote it
	Container string // "tree", later "rpm", "tar"
	Name      string // the package or archive; "" for a tree
	Hash      ima.HashID
	// KeyID and Certificate (SHA-256 over its DER) name the signing key; both are
	// zero in a manifest of digests alone.
	KeyID       ima.KeyID
	Certificate []byte
	// Entries is how many lines follow, so that a cut manifest is noticed.
	Entries int64
	// Date is when it was made; the zero time leaves it out, which is what keeps
	// a manifest reproducible.
	Date time.Time
}

// Line is one entry.
type Line struct {
	Path     string // raw bytes, relative, slash-separated
	Kind     string // "file", "directory", "symlink", "fifo", "socket", "char", "block"
	Size     int64  // bytes of content
	Mode     uint32 // permission bits as in st_mode & 07777
	UID, GID uint32
	// Covered are the security.* xattrs found beside security.ima and
	// security.evm; an EVM signature covers their values.
	Covered map[string][]byte
	Hash    ima.HashID
	Digest  []byte // nil for an entry without content or that is not digested
	// Xattrs are the values that are attached, by name.
	Xattrs map[string][]byte
	KeyID  ima.KeyID // of the signature in Xattrs; zero where there is none
	// Unsigned says why the entry carries no signature; "" where it does.
	Unsigned string
	// Same is the path that this entry is another hard link of.
	Same string
}

// Permissions returns mode's permission bits as Line.Mode has them.
func Permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for i, flag := range [...]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if mode&flag != 0 {
			bits |= 0o1000 << i
		}
	}
	return bits
}

// Kind names a file type as manifests and reports do: "file", "directory",
// "symlink", "fifo", "socket", "char", "block".
func Kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	case mode&fs.ModeNamedPipe != 0:
		return "fifo"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeCharDevice != 0:
		return "char"
	default:
		return "block"
	}
}

// headerJSON and lineJSON are the keys in their order.
type headerJSON struct {
	Version     int    `json:"imasign_manifest"`
	Tool        string `json:"tool"`
	Container   string `json:"container"`
	Name        string `json:"name,omitempty"`
	Hash        string `json:"hash,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	Certificate string `json:"certificate_sha256,omitempty"`
	Entries     int64  `json:"entries"`
	Date        string `json:"date,omitempty"`
}

type lineJSON struct {
	Path     *string           `json:"path,omitempty"`
	PathB64  []byte            `json:"path_b64,omitempty"`
	Kind     string            `json:"kind"`
	Size     int64             `json:"size"`
	Mode     string            `json:"mode"`
	UID      uint32            `json:"uid"`
	GID      uint32            `json:"gid"`
	Covered  map[string]string `json:"covered,omitempty"`
	Hash     string            `json:"hash,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Xattrs   map[string]string `json:"xattrs,omitempty"`
	KeyID    string            `json:"key_id,omitempty"`
	Unsigned string            `json:"unsigned,omitempty"`
	Same     string            `json:"same,omitempty"`
	SameB64  []byte            `json:"same_b64,omitempty"`
}

func (h Header) toJSON() headerJSON {
	j := headerJSON{Version: Version, Tool: h.Tool, Container: h.Container, Name: h.Name, Entries: h.Entries, Certificate: hex.EncodeToString(h.Certificate)}
	if h.Hash.Size() > 0 {
		j.Hash = h.Hash.String()
	}
	if h.KeyID != 0 {
		j.KeyID = h.KeyID.String()
	}
	if !h.Date.IsZero() {
		j.Date = h.Date.UTC().Format(time.RFC3339)
	}
	return j
}

func (j headerJSON) header() (h Header, err error) {
	if j.Version != Version {
		return Header{}, fmt.Errorf("%w: version %d, this program knows %d", ErrFormat, j.Version, Version)
	}
	h = Header{Tool: j.Tool, Container: j.Container, Name: j.Name, Entries: j.Entries}
	if j.Entries < 0 {
		return Header{}, fmt.Errorf("entries: %d", j.Entries)
	}
	if j.Hash != "" {
		if h.Hash, err = ima.ParseHash(j.Hash); err != nil {
			return Header{}, err
		}
	}
	if h.KeyID, err = parseKeyID(j.KeyID); err != nil {
		return Header{}, err
	}
	if h.Certificate, err = parseHex(j.Certificate); err != nil {
		return Header{}, fmt.Errorf("certificate_sha256: %w", err)
	}
	if j.Date != "" {
		if h.Date, err = time.Parse(time.RFC3339, j.Date); err != nil {
			return Header{}, fmt.Errorf("date: %w", err)
		}
	}
	return h, nil
}

func (l Line) toJSON() lineJSON {
	j := lineJSON{
		Kind: l.Kind, Size: l.Size, Mode: fmt.Sprintf("%04o", l.Mode), UID: l.UID, GID: l.GID,
		Covered: hexMap(l.Covered), Digest: hex.EncodeToString(l.Digest), Xattrs: hexMap(l.Xattrs), Unsigned: l.Unsigned,
	}
	// encoding/json would replace the bytes of a name that is not UTF-8.
	if utf8.ValidString(l.Path) {
		j.Path = &l.Path
	} else {
		j.PathB64 = []byte(l.Path)
	}
	if utf8.ValidString(l.Same) {
		j.Same = l.Same
	} else {
		j.SameB64 = []byte(l.Same)
	}
	if len(l.Digest) > 0 {
		j.Hash = l.Hash.String()
	}
	if l.KeyID != 0 {
		j.KeyID = l.KeyID.String()
	}
	return j
}

func (j lineJSON) line() (l Line, err error) {
	l = Line{Kind: j.Kind, Size: j.Size, UID: j.UID, GID: j.GID, Unsigned: j.Unsigned, Same: j.Same}
	if l.Path, err = j.path(); err != nil {
		return Line{}, err
	}
	if len(j.SameB64) > 0 {
		l.Same = string(j.SameB64)
	}
	mode, err := strconv.ParseUint(j.Mode, 8, 12)
	if err != nil {
		return Line{}, fmt.Errorf("mode %q: not octal permission bits", j.Mode)
	}
	l.Mode = uint32(mode)
	if l.Digest, err = parseHex(j.Digest); err != nil {
		return Line{}, fmt.Errorf("digest: %w", err)
	}
	if j.Hash != "" {
		if l.Hash, err = ima.ParseHash(j.Hash); err != nil {
			return Line{}, err
		}
	}
	if l.Digest != nil && len(l.Digest) != l.Hash.Size() {
		return Line{}, fmt.Errorf("digest: %d bytes, %s has %d", len(l.Digest), l.Hash, l.Hash.Size())
	}
	if l.KeyID, err = parseKeyID(j.KeyID); err != nil {
		return Line{}, err
	}
	if l.Covered, err = parseHexMap(j.Covered); err != nil {
		return Line{}, err
	}
	l.Xattrs, err = parseHexMap(j.Xattrs)
	return l, err
}

func (j lineJSON) path() (string, error) {
	switch {
	case j.Path != nil && j.PathB64 == nil && *j.Path != "":
		return *j.Path, nil
	case j.Path == nil && len(j.PathB64) > 0:
		return string(j.PathB64), nil
	}
	return "", errors.New("an entry has either path or path_b64")
}

func hexMap(m map[string][]byte) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for name, value := range m {
		out[name] = hex.EncodeToString(value)
	}
	return out
}

func parseHexMap(m map[string]string) (map[string][]byte, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string][]byte, len(m))
	for name, value := range m {
		b, err := parseHex(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = b
	}
	return out, nil
}

func parseHex(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	return hex.DecodeString(s)
}

func parseKeyID(s string) (ima.KeyID, error) {
	if s == "" {
		return 0, nil
	}
	return ima.ParseKeyID(s)
}
