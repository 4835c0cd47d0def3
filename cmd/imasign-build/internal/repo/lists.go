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

// What is taken for a list of checksums is no larger than this, packed and unpacked.
const (
	maxList         = 8 << 20
	maxUnpackedList = 256 << 20
)

// warnAboutLists names files beside the metadata that have checksums of packages or
// metadata as they were: SHA256SUMS, .treeinfo, CHECKSUMS, susetags. What they are, and who
// signed them, is not known, so they stay.
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
			r.warn(fmt.Sprintf("%s has %d checksums of packages or metadata as they were, and stays as it is: make it anew", filepath.Join(r.given, i.rel), n))
		}
	}
	return nil
}

// inMetadata reports whether a file is one that repomd.xml lists, or repomd.xml.
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

// addMetadataSums adds the checksums of the old metadata to those that are stale.
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
		return found{}, nil // no list, or nobody's who reads it here
	}
	if err != nil {
		return found{}, err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	has, err := r.stale.search(io.LimitReader(in, maxUnpackedList))
	if err != nil {
		return found{}, nil // compressed and broken: no list
	}
	return has, nil
}
