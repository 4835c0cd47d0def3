package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/rpmfiles"
)

// site is a directory with one or several repositories, at one moment.
type site struct {
	*survey

	repositories []*listing // in the order of their paths
	homeless     []string   // packages that are in no repository
}

// listing is a directory with metadata, and the content of the metadata before this run.
type listing struct {
	rel   string // its directory, from the site's
	text  []byte // repomd.xml
	old   *repomd
	all   []listed
	units map[string]string // the items of listed packages that exist, by location
	gone  []string          // locations of listed packages that do not exist
	added []string          // packages to be listed, from the repository's directory
}

// openSite reads the metadata of all repositories in and below root.
func openSite(ctx context.Context, root string) (*site, error) {
	all, err := takeSurvey(ctx, root)
	if err != nil {
		return nil, err
	}
	s := &site{survey: all}
	for _, rel := range s.roots() {
		r, err := s.readRepository(rel)
		if err != nil {
			return nil, err
		}
		s.repositories = append(s.repositories, r)
	}
	if len(s.repositories) == 0 {
		return nil, noRepository(root)
	}
	return s, nil
}

// roots returns the directories that have metadata, in the order of their paths.
func (s *site) roots() []string {
	var list []string
	for _, i := range s.items {
		if i.kind == aFile && filepath.Base(i.rel) == "repomd.xml" && filepath.Base(filepath.Dir(i.rel)) == metadataDir {
			list = append(list, filepath.Dir(filepath.Dir(i.rel)))
		}
	}
	slices.Sort(list)
	return list
}

func noRepository(dir string) error {
	return fmt.Errorf("%s: %w: there is no repodata/repomd.xml in it or below it: make one with createrepo_c, or use `rpm sign` for packages without a repository", dir, ErrNoRepository)
}

func (s *site) readRepository(rel string) (*listing, error) {
	dir := filepath.Join(s.root, rel)
	r := &listing{rel: rel, units: map[string]string{}}
	var err error
	if r.text, err = readBounded(repomdPath(dir)); err != nil {
		return nil, err
	}
	if r.old, err = parseRepomd(repomdPath(dir), r.text); err != nil {
		return nil, err
	}
	if r.all, err = r.old.readPrimary(dir); err != nil {
		return nil, err
	}
	for _, p := range r.all {
		item, err := s.resolve(r, p.href)
		switch {
		case err != nil:
			return nil, err
		case item == "":
			r.gone = append(r.gone, p.href)
		default:
			r.units[p.href] = item
		}
	}
	slices.Sort(r.gone)
	r.gone = slices.Compact(r.gone)
	return r, nil
}

// resolve returns the item at a location in a repository's metadata, or "" if nothing is
// there. A location outside the directory is an error, because it cannot be signed.
func (s *site) resolve(r *listing, href string) (string, error) {
	rel := filepath.Join(r.rel, href)
	if !filepath.IsLocal(rel) || strings.ContainsAny(href, "\n\x00") || filepath.IsAbs(href) {
		return "", fmt.Errorf("%s: %w: it lists a package at %q, outside the directory", s.path(item{rel: r.rel}), ErrMetadata, href)
	}
	if i, ok := s.find(rel); ok && (i.kind == aFile || i.kind == aPackage) {
		return rel, nil
	}
	there, err := filepath.EvalSymlinks(filepath.Join(s.root, rel))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if inside, ok := below(s.root, there); ok {
		if i, ok := s.find(inside); ok && (i.kind == aFile || i.kind == aPackage) {
			return inside, nil
		}
	}
	return "", fmt.Errorf("%s: a link leads out of the directory to %s, which is not signed: copy it to the repository", filepath.Join(s.root, rel), there)
}

// findAdditions finds packages that the metadata does not list. A package belongs to the
// innermost repository around it, and also to outer ones that list any package of the inner
// one.
func (s *site) findAdditions() {
	met := map[*listing]map[string]bool{}
	for _, r := range s.repositories {
		met[r] = map[string]bool{}
		for _, item := range r.units {
			met[r][item] = true
		}
	}
	for _, i := range s.items {
		if i.kind != aPackage {
			continue
		}
		around := s.around(i.rel)
		if len(around) == 0 {
			s.homeless = append(s.homeless, i.rel)
		}
		for n, r := range around {
			if !met[r][i.rel] && (n == 0 || r.lists(around[0], met[r])) {
				rel, _ := below(r.rel, i.rel)
				r.added = append(r.added, rel)
			}
		}
	}
}

// around returns the repositories that contain a file, the innermost first.
func (s *site) around(rel string) []*listing {
	var list []*listing
	for _, r := range s.repositories {
		if _, within := below(r.rel, rel); within {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *listing) int { return depth(b.rel) - depth(a.rel) })
	return list
}

func depth(rel string) int {
	if rel == "." {
		return 0
	}
	return 1 + strings.Count(rel, "/")
}

// lists reports whether any of the items is in the inner repository.
func (r *listing) lists(inner *listing, items map[string]bool) bool {
	for item := range items {
		if _, within := below(inner.rel, item); within {
			return true
		}
	}
	return false
}

// decide applies the options to additions and removals, and records both in the summary.
func (r *task) decide(s *site) error {
	s.findAdditions()
	r.summary = Summary{Repositories: len(s.repositories)}
	for _, p := range s.repositories {
		for _, href := range p.gone {
			r.summary.Removed = append(r.summary.Removed, filepath.Join(r.given, p.rel, href))
		}
		for _, rel := range p.added {
			if r.Additions != Leave && !listable(rel) {
				return fmt.Errorf("%q: metadata cannot list a name that has control characters or is not UTF-8: rename it", filepath.Join(s.root, p.rel, rel))
			}
			r.summary.Added = append(r.summary.Added, filepath.Join(r.given, p.rel, rel))
		}
	}
	for _, p := range s.repositories {
		if len(p.gone) > 0 && len(p.units) == 0 && p.all[0].base != "" {
			return fmt.Errorf("%s: %w: none exists here, and the metadata says that they are at %s", s.path(item{rel: p.rel}), ErrMissing, p.all[0].base)
		}
	}
	for _, rel := range s.homeless {
		r.summary.Left = append(r.summary.Left, filepath.Join(r.given, rel))
	}
	if len(r.summary.Removed) > 0 && r.Removals == Refuse {
		return fmt.Errorf("%w: %s", ErrMissing, some(r.summary.Removed))
	}
	switch {
	case r.Additions == Refuse && len(r.summary.Added)+len(r.summary.Left) > 0:
		return fmt.Errorf("%w: %s", ErrUnlisted, some(append(r.summary.Added, r.summary.Left...)))
	case r.Additions == Leave:
		r.summary.Left, r.summary.Added = append(r.summary.Added, r.summary.Left...), nil
		for _, p := range s.repositories {
			p.added = nil
		}
	}
	for _, rel := range s.homeless {
		r.warn(filepath.Join(r.given, rel) + " is in no repository, and is neither signed nor listed: move it to one, or make one there with createrepo_c")
	}
	for _, rel := range s.outside {
		r.Observe.Warn(filepath.Join(r.given, rel), "leads to a directory above it: packages there are neither signed nor listed")
	}
	return nil
}

// listable reports whether createrepo_c can list a package with this name. It reads a list of
// names by line, and XML has no other control characters and only valid text.
func listable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// packages returns the items that are signed: everything that the metadata lists, whatever its
// name, and the additions.
func (s *site) packages() map[string]bool {
	set := map[string]bool{}
	for _, r := range s.repositories {
		for _, item := range r.units {
			set[item] = true
		}
		for _, rel := range r.added {
			set[filepath.Join(r.rel, rel)] = true
		}
	}
	return set
}

// unitsIn returns the packages as units that are written below to, or in place if to is "".
func (r *task) unitsIn(s *site, to string) []rpmfiles.Unit {
	var units []rpmfiles.Unit
	set := s.packages()
	for _, i := range s.items {
		if !set[i.rel] {
			continue
		}
		u := rpmfiles.Unit{Path: filepath.Join(r.Dir, i.rel)}
		switch {
		case to != "":
			u.Output = filepath.Join(to, i.rel)
		case i.led != (state{}) || s.behindLink(i.rel):
			u.Outside, _ = filepath.EvalSymlinks(u.Path) // if it does not exist, opening it fails
		}
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b rpmfiles.Unit) int { return strings.Compare(a.Path, b.Path) })
	return units
}

// pkglist returns the locations that the new metadata lists, one a line: listed packages that
// exist, and additions.
func (r *listing) pkglist() []byte {
	set := map[string]bool{}
	for href := range r.units {
		set[href] = true
	}
	for _, rel := range r.added {
		set[rel] = true
	}
	var text bytes.Buffer
	for _, href := range slices.Sorted(maps.Keys(set)) {
		text.WriteString(href + "\n")
	}
	return text.Bytes()
}

// baseURL returns the xml:base that all listed packages share.
func (r *listing) baseURL() (string, error) {
	base := ""
	for n, p := range r.all {
		if n > 0 && p.base != base {
			return "", fmt.Errorf("%w: packages have several xml:base (%q, %q), and createrepo_c writes only one", ErrMetadata, base, p.base)
		}
		base = p.base
	}
	return base, nil
}
