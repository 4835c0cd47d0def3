// Package manifest is the format in which a container's files, their digests and
// their signatures are written down: for a dry run, for signing where the files
// are not, for audit, as reference values.
//
// A manifest is JSON Lines. Each container (a tree, a package, an archive) has
// one header line, then one line an entry, sorted by the bytes of the path. The
// rendering is canonical: equal content gives equal bytes, nothing in it depends
// on the clock or on the directory it was made in, and readers refuse every other
// rendering. The package knows the format alone; making plans and attaching them
// is for pkg/signing and the containers.
//
// Paths repeat in some containers: a tar archive may hold a file again, further
// down. Their lines then stand in the container's order, and the n-th line of a
// path belongs to the n-th entry of that path. In a tree no path repeats.
package manifest

import (
	"errors"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/imasign/imasign-build/pkg/ima"
)

// version is the format's version, the value of a header's first key.
const version = 1

// ErrFormat means that the input is not a manifest of a version known here.
var ErrFormat = errors.New("not a valid manifest")

// Header opens a container's lines.
type Header struct {
	Tool      string // name and version of the program that wrote it
	Container Container
	Name      string // as Container says, raw bytes; "" for none
	// Hash is the algorithm of all digests; zero where they differ or there are
	// none. (Zero is MD4's id, which nothing makes digests with.)
	Hash ima.HashID
	// KeyID and Certificate (SHA-256 over its DER) name the signing key; both are
	// zero in a manifest of digests alone.
	KeyID       ima.KeyID
	Certificate []byte
	// Entries is how many lines follow, so that a cut manifest is noticed.
	Entries int64
	// Date is when it was made, to the second; the zero time leaves it out, which is
	// what keeps a manifest reproducible.
	Date time.Time
}

// Line is one entry.
type Line struct {
	// Path is relative and slash-separated, in raw bytes. Names between the slashes
	// are not empty, "." or "..": such a line is neither written nor read.
	Path     string
	Kind     string // "file", "directory", "symlink", "fifo", "socket", "char", "block"
	Size     int64  // bytes of content
	Mode     uint32 // permission bits as in st_mode & 07777
	UID, GID uint32
	// Covered are the security.* xattrs found beside security.ima and
	// security.evm; an EVM signature covers their values.
	Covered map[string][]byte
	Hash    ima.HashID // of Digest, means nothing without it
	Digest  []byte     // nil for an entry without content or that is not digested
	// Xattrs are the values that are attached, by name.
	Xattrs map[string][]byte
	KeyID  ima.KeyID // of the signature in Xattrs; zero where there is none
	// Unsigned says why the entry carries no signature; "" where it does.
	Unsigned string
	// Same is the path that this entry is another hard link of.
	Same string
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
	NameB64     []byte `json:"name_b64,omitempty"`
	Hash        string `json:"hash,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	Certificate string `json:"certificate_sha256,omitempty"`
	Entries     int64  `json:"entries"`
	Date        string `json:"date,omitempty"`
}

type lineJSON struct {
	Path     string            `json:"path,omitempty"`
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

// text returns s for a JSON string and, as encoding/json would silently replace
// bytes that are not UTF-8, those of such a string for base64.
func text(s string) (string, []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return "", []byte(s)
}
