package repo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The largest file that is searched as a list of checksums, packed and unpacked.
const (
	maxList         = 8 << 20
	maxUnpackedList = 256 << 20
)

// warnAboutLists warns about other files with old checksums of packages or metadata:
// SHA256SUMS, .treeinfo, CHECKSUMS, susetags. They are not changed, because their format and
// their signers are unknown.
func (r *task) warnAboutLists(s *site) error {
	for _, p := range s.repositories {
		if err := r.addMetadataSums(p); err != nil {
			return err
		}
	}
	if len(r.stale) == 0 {
		return nil
	}
	for _, i := range s.items {
		if i.kind != aFile || s.inMetadata(i.rel) || strings.HasSuffix(i.rel, "rpm") {
			continue
		}
		has, err := r.searchList(s.path(i))
		if err != nil {
			return err
		}
		if n := len(has.old) + len(has.gone); n > 0 {
			r.warn(fmt.Sprintf("%s has old checksums of packages or metadata (%d) and is kept unchanged: regenerate it", filepath.Join(r.given, i.rel), n))
		}
	}
	return nil
}

// inMetadata reports whether a file is repomd.xml or listed by it.
func (s *site) inMetadata(rel string) bool {
	for _, p := range s.repositories {
		inside, within := below(p.rel, rel)
		if !within {
			continue
		}
		if inside == filepath.Join(metadataDir, "repomd.xml") {
			return true
		}
		for _, d := range p.old.Data {
			if filepath.Clean(d.Location.Href) == inside {
				return true
			}
		}
	}
	return false
}

// addMetadataSums adds the checksums of the old metadata to the stale ones.
func (r *task) addMetadataSums(p *listing) error {
	for _, d := range p.old.Data {
		if sum := strings.ToLower(strings.TrimSpace(d.Checksum.Hex)); isHex(sum) && remade(d.Type) {
			r.addStale(sum, "")
		}
	}
	for _, n := range []int{32, 40, 64, 96, 128} {
		h := newHash(n)()
		if _, err := h.Write(p.text); err != nil {
			return err
		}
		r.addStale(fmt.Sprintf("%x", h.Sum(nil)), "")
	}
	return nil
}

func (r *task) addStale(old, now string) {
	if r.stale == nil {
		r.stale = checksums{}
	}
	r.stale[old] = now
}

func (r *task) searchList(path string) (found, error) {
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxList {
		return found{}, err
	}
	in, err := openMetadata(path)
	if errors.Is(err, ErrMetadata) || errors.Is(err, fs.ErrPermission) {
		return found{}, nil // not a list, or not readable
	}
	if err != nil {
		return found{}, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	has, err := r.stale.search(io.LimitReader(in, maxUnpackedList))
	if err != nil {
		return found{}, nil // broken compression: not a list
	}
	return has, nil
}
