// Package manifest reads and writes manifests, which list a container's files with their
// digests and signatures. A manifest is the result of a dry run, the input for signing on
// a machine that does not have the files, a record for audits, and a set of reference
// values.
//
// A manifest is JSON Lines. Each container (a tree, a package, an archive) has one header
// line, followed by one line for each entry, sorted by the bytes of the path. The encoding
// is canonical: equal content gives equal bytes. Nothing depends on the clock or on the
// directory that the manifest was made in. Readers refuse every other encoding of the same
// content.
//
// In some containers a path may repeat: a tar archive may contain a file again. The lines
// of such a path are in the container's order, and the n-th line of the path belongs to
// the n-th entry of the path. In a tree no path repeats.
//
// The package reads and writes only the format. Package pkg/signing makes plans, and the
// containers attach them.
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

// ErrFormat means that the input is not a valid manifest of a supported version.
var ErrFormat = errors.New("not a valid manifest")

// Header is the first line of a container.
type Header struct {
	Tool      string // name and version of the program that wrote the manifest
	Container Container
	Name      string // of the container, as its kind defines; raw bytes; "" for none
	// Hash is the algorithm of all digests. It is zero if they differ or if there are
	// none. (Zero is the id of MD4, which no digest uses.)
	Hash ima.HashID
	// KeyID is the id of the signing key. It is zero if there is no signing key.
	KeyID ima.KeyID
	// KeyFor is the purpose that was stated for the signing key, because its certificate does
	// not state it. It is ima.Unstated if none was.
	KeyFor ima.Purpose
	// Certificate is the SHA-256 digest of the signing certificate in DER, or nil.
	Certificate []byte
	// Entries is the number of entry lines that follow. It shows if a manifest was cut.
	Entries int64
	// Date is the time at which the manifest was made, in seconds. The zero time leaves it
	// out, which makes the manifest reproducible.
	Date time.Time
}

// Line is one entry.
type Line struct {
	// Path is relative and slash-separated, in raw bytes. No name in it may be empty, "."
	// or "..": writers and readers refuse such a line.
	Path     string
	Kind     string // "file", "directory", "symlink", "fifo", "socket", "char", "block"
	Size     int64  // of the content, in bytes
	Mode     uint32 // permission bits: st_mode & 07777
	UID, GID uint32
	// Target is what a symbolic link points to, in raw bytes. It is only compared, so it may
	// be absolute or lead out of the container. It is "" for other files, and if the manifest
	// does not state it.
	Target string
	// Device is the number of a character or block device, as [Device] returns it. It is ""
	// for other files, and if the manifest does not state it.
	Device string
	// Covered are the values of the entry's security.* xattrs, by name, except security.ima
	// and security.evm. EVM signatures cover these values.
	Covered map[string][]byte
	Hash    ima.HashID // algorithm of Digest; no meaning without Digest
	Digest  []byte     // nil if the entry has no content or was not digested
	// Verity, unless nil, says that Digest is the fs-verity digest with these parameters. If
	// it is nil, Digest is the digest of the content.
	Verity *Verity
	// Xattrs are the values of the xattrs to attach, by name.
	Xattrs map[string][]byte
	KeyID  ima.KeyID // of the signature in Xattrs; zero if there is none
	// Unsigned is the reason why the entry has no signature. It is "" if it has one.
	Unsigned string
	// Same is the path of an earlier name of the same inode, if this entry is a hard link.
	Same string
}

// Kind returns the name of a file type in manifests and reports: "file", "directory",
// "symlink", "fifo", "socket", "char" or "block".
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

// headerJSON and lineJSON have the JSON keys in their canonical order.
type headerJSON struct {
	Version     int    `json:"imasign_manifest"`
	Tool        string `json:"tool"`
	Container   string `json:"container"`
	Name        string `json:"name,omitempty"`
	NameB64     []byte `json:"name_b64,omitempty"`
	Hash        string `json:"hash,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	KeyFor      string `json:"key_for,omitempty"`
	Certificate string `json:"certificate_sha256,omitempty"`
	Entries     int64  `json:"entries"`
	Date        string `json:"date,omitempty"`
}

type lineJSON struct {
	Path      string            `json:"path,omitempty"`
	PathB64   []byte            `json:"path_b64,omitempty"`
	Kind      string            `json:"kind"`
	Size      int64             `json:"size"`
	Mode      string            `json:"mode"`
	UID       uint32            `json:"uid"`
	GID       uint32            `json:"gid"`
	Target    string            `json:"target,omitempty"`
	TargetB64 []byte            `json:"target_b64,omitempty"`
	Device    string            `json:"device,omitempty"`
	Covered   map[string]string `json:"covered,omitempty"`
	Hash      string            `json:"hash,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	Verity    *verityJSON       `json:"verity,omitempty"`
	Xattrs    map[string]string `json:"xattrs,omitempty"`
	KeyID     string            `json:"key_id,omitempty"`
	Version   uint8             `json:"signature_version,omitempty"` // 3, which is in the value too
	Unsigned  string            `json:"unsigned,omitempty"`
	Same      string            `json:"same,omitempty"`
	SameB64   []byte            `json:"same_b64,omitempty"`
}

// text returns s as a string if it is UTF-8, and otherwise as bytes for base64, because
// encoding/json silently replaces bytes that are not UTF-8.
func text(s string) (string, []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return "", []byte(s)
}
