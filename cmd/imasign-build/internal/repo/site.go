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
	homeless     []string   // packages that lie in none of them
}

// listing is a directory with metadata, and what they said before anything was
// changed.
type listing struct {
	rel   string // its directory, from the site's
	text  []byte // repomd.xml
	old   *repomd
	all   []listed
	units map[string]string // by location of a listed package that is there: its item
	gone  []string          // listed packages that are not there, by location
	added []string          // packages that will be listed from now on, from the repository's directory
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
	return fmt.Errorf("%s: %w: there is no repodata/repomd.xml in it or below it; createrepo_c makes one, and `rpm sign` signs packages that are no repository", dir, ErrNoRepository)
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

// resolve returns the item that a location in a repository's metadata leads to, ""
// where nothing is. What lies elsewhere cannot be signed here, and is an error.
func (s *site) resolve(r *listing, href string) (string, error) {
	rel := filepath.Join(r.rel, href)
	if !filepath.IsLocal(rel) || strings.ContainsAny(href, "\n\x00") || filepath.IsAbs(href) {
		return "", fmt.Errorf("%s: %w: it lists a package at %q, outside of the directory", s.path(item{rel: r.rel}), ErrMetadata, href)
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
	return "", fmt.Errorf("%s: a link leads to %s, out of the directory, where it is not signed; copy it to the repository", filepath.Join(s.root, rel), there)
}

// findAdditions finds what metadata do not list. A package belongs to the innermost repository
// around it, and to outer ones that list something of that inner one as well.
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

// around returns the repositories that a file lies in, the innermost first.
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

// lists reports whether any of the items that a repository lists lies in an inner
// one.
func (r *listing) lists(inner *listing, items map[string]bool) bool {
	for item := range items {
		if _, within := below(inner.rel, item); within {
			return true
		}
	}
	return false
}

// decide applies the options to additions and removals, and notes both in the summary.
func (r *task) decide(s *site) error {
	s.findAdditions()
	r.summary = Summary{Repositories: len(s.repositories)}
	for _, p := range s.repositories {
		for _, href := range p.gone {
			r.summary.Removed = append(r.summary.Removed, filepath.Join(r.given, p.rel, href))
		}
		for _, rel := range p.added {
			if r.Additions != Leave && !listable(rel) {
				return fmt.Errorf("%q: metadata cannot list a name with control characters, or one that is not UTF-8: rename it", filepath.Join(s.root, p.rel, rel))
			}
			r.summary.Added = append(r.summary.Added, filepath.Join(r.given, p.rel, rel))
		}
	}
	for _, p := range s.repositories {
		if len(p.gone) > 0 && len(p.units) == 0 && p.all[0].base != "" {
			return fmt.Errorf("%s: %w: none is here, and they are said to be at %s", s.path(item{rel: p.rel}), ErrMissing, p.all[0].base)
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
		r.warn(filepath.Join(r.given, rel) + " lies in no repository, and is neither signed nor listed: move it to one, or make one there by createrepo_c")
	}
	for _, rel := range s.outside {
		r.Observe.Warn(filepath.Join(r.given, rel), "leads to a directory around it: packages there are neither signed nor listed")
	}
	return nil
}

// listable reports whether createrepo_c lists a package by this name: it reads its list
// of them by lines, and XML has no other control characters, nor bytes that are no text.
func listable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// packages are the items to be signed: what metadata list, whatever it is called, and
// what they will list.
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

// unitsIn returns the packages as units, to be written below to, or in place where
// that is "".
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
			u.Outside, _ = filepath.EvalSymlinks(u.Path) // which is there, or fails later
		}
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b rpmfiles.Unit) int { return strings.Compare(a.Path, b.Path) })
	return units
}

// pkglist returns the locations of the packages that the new metadata are to list:
// those that were listed and are there, and the added ones.
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
			return "", fmt.Errorf("%w: packages have several xml:base (%q, %q), of which createrepo_c makes one", ErrMetadata, base, p.base)
		}
		base = p.base
	}
	return base, nil
}
