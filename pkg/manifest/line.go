package manifest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/imasign/imasign-build/pkg/ima"
)

func (l *Line) toJSON() lineJSON {
	j := lineJSON{
		Kind: l.Kind, Size: l.Size, Mode: fmt.Sprintf("%04o", l.Mode), UID: l.UID, GID: l.GID,
		Device: l.Device, Covered: hexMap(l.Covered), Digest: hex.EncodeToString(l.Digest), Xattrs: hexMap(l.Xattrs),
		Unsigned: strings.ToValidUTF8(l.Unsigned, "\uFFFD"), Verity: l.Verity.toJSON(),
	}
	j.Path, j.PathB64 = text(l.Path)
	j.Target, j.TargetB64 = text(l.Target)
	j.Same, j.SameB64 = text(l.Same)
	if len(l.Digest) > 0 {
		j.Hash = l.Hash.String()
	}
	if l.KeyID != 0 {
		j.KeyID = l.KeyID.String()
	}
	if v := l.version(); v == 3 { // lines with version 2 are as before there was version 3
		j.Version = v
	}
	return j
}

// version returns the version of the signature in security.ima or, if that has none, of the
// one in security.evm. It is 0 if there is no signature.
func (l *Line) version() uint8 {
	for _, name := range []string{ima.XattrIMA, ima.XattrEVM} {
		if v, err := ima.Parse(l.Xattrs[name]); err == nil && v.IsSignature() {
			return v.Version
		}
	}
	return 0
}

// check returns an error for a line that must be neither written nor read.
func (l *Line) check() error {
	kinds := [...]string{"file", "directory", "symlink", "fifo", "socket", "char", "block"}
	switch {
	case l.Path == "":
		return errors.New("an entry needs either path or path_b64")
	case !local(l.Path):
		return fmt.Errorf("path %q: %w", l.Path, errNotLocal)
	case l.Same != "" && !local(l.Same):
		return fmt.Errorf("same %q: %w", l.Same, errNotLocal)
	case !slices.Contains(kinds[:], l.Kind):
		return fmt.Errorf("kind %q: not one of %s", l.Kind, strings.Join(kinds[:], ", "))
	case l.Size < 0:
		return fmt.Errorf("size: %d is negative", l.Size)
	case l.Mode > 0o7777:
		return fmt.Errorf("mode %o: not permission bits", l.Mode)
	case len(l.Digest) > 0 && len(l.Digest) != l.Hash.Size():
		return fmt.Errorf("digest: %d bytes, %s has %d", len(l.Digest), l.Hash, l.Hash.Size())
	}
	if err := l.checkSpecial(); err != nil {
		return err
	}
	if err := l.checkVerity(); err != nil {
		return err
	}
	for _, values := range []map[string][]byte{l.Covered, l.Xattrs} {
		for name := range maps.Keys(values) {
			if !utf8.ValidString(name) {
				return fmt.Errorf("xattr %q: its name is not UTF-8, which a manifest cannot hold: remove it", name)
			}
		}
	}
	return nil
}

var errNotLocal = errors.New("a path must be relative, without an empty name, \".\" or \"..\" between its slashes")

// local reports whether path stays below the container's root and is the only spelling of
// that path. Then a program that compares paths and one that opens them mean the same
// file. "." is the root itself, which the rpm package filesystem contains.
func local(path string) bool {
	if path == "." {
		return true
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return strings.IndexByte(path, 0) < 0
}

func (j *lineJSON) line() (l Line, err error) {
	l = Line{
		Path: j.Path, Kind: j.Kind, Size: j.Size, UID: j.UID, GID: j.GID, Target: j.Target, Device: j.Device,
		Unsigned: j.Unsigned, Same: j.Same,
	}
	if len(j.PathB64) > 0 {
		l.Path = string(j.PathB64)
	}
	if len(j.TargetB64) > 0 {
		l.Target = string(j.TargetB64)
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
	if l.Verity, err = j.Verity.verity(); err != nil {
		return Line{}, err
	}
	if l.KeyID, err = parseKeyID(j.KeyID); err != nil {
		return Line{}, err
	}
	if l.Covered, err = parseHexMap(j.Covered); err != nil {
		return Line{}, err
	}
	if l.Xattrs, err = parseHexMap(j.Xattrs); err != nil {
		return Line{}, err
	}
	return l, l.check()
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

// parseHexMap returns an empty value as a non-nil slice, because nil means no value.
func parseHexMap(m map[string]string) (map[string][]byte, error) {
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string][]byte, len(m))
	for name, value := range m {
		b, err := hex.DecodeString(value)
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
