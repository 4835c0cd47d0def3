// Package selection decides which entries of a container are signed, stripped or
// verified. It wraps one signing.Source in another, in the same way for trees, archives,
// layers and packages.
//
// Entries that are left out get a Reason, and keep the values that they have. The
// container decides which entries there are, in which order, and which of them can never
// be signed, such as symbolic links. Its Reason has precedence.
package selection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers decide by.
var (
	// ErrPattern means a pattern that is not well-formed.
	ErrPattern = errors.New("not a valid pattern")
	// ErrFiles means a word that names no Files.
	ErrFiles = errors.New(`it is neither "all" nor "executable"`)
	// ErrUnknown means that Executable depends on the content of a file of which the
	// container has only a digest.
	ErrUnknown = errors.New("the package does not say which of its files are ELF files")
)

// Files says which regular files are selected, before patterns.
type Files string

// The words for Files.
const (
	All Files = "all" // every regular file
	// Executable are files with an execute bit, ELF files of any kind whatever their
	// mode (shared objects, kernel modules), compressed kernel modules, and firmware
	// (everything below lib/firmware).
	Executable Files = "executable"
)

// ParseFiles returns the Files that word names. Errors wrap ErrFiles.
func ParseFiles(word string) (Files, error) {
	switch f := Files(word); f {
	case All, Executable:
		return f, nil
	}
	return "", fmt.Errorf("selection %q: %w", word, ErrFiles)
}

// List is one of the lists of patterns.
type List string

// The lists of Options.
const (
	Include List = "include"
	Exclude List = "exclude"
	Hashed  List = "hashed"
	Verity  List = "verity"
)

// Pattern is a pattern as it was written.
type Pattern struct {
	List List
	Text string
}

// PatternError says why a pattern is not well-formed. Err wraps ErrPattern.
type PatternError struct {
	Pattern
	Err error
}

func (e *PatternError) Error() string { return fmt.Sprintf("%s %q: %v", e.List, e.Text, e.Err) }
func (e *PatternError) Unwrap() error { return e.Err }

// Options of Compile. Patterns are like those of .gitignore; docs/rootfs.md explains them
// with examples.
type Options struct {
	// Include, unless empty, limits the selection to entries that it matches. Exclude
	// leaves out entries that it matches. Entries that Hashed matches get a digest instead
	// of a signature.
	Include, Exclude, Hashed []string
	// Verity, unless empty, asks for fs-verity signatures with Parameters for entries that it
	// matches and Hashed does not.
	Verity     []string
	Parameters manifest.Verity
	Files      Files // "" means All
	// Observe is warned about hard links of which Hashed or Verity matches some names and
	// not others.
	Observe signing.Observer
}

// Rules are compiled once for a run and shared by all its containers, because a pattern
// may match nothing in one package and something in another. They are safe for concurrent
// use. nil selects everything.
type Rules struct {
	include, exclude, hashed, verity patterns
	parameters                       manifest.Verity
	executable                       bool
	observe                          signing.Observer
	listed, cut                      atomic.Bool // a listing was complete; a listing ended early
}

// Compile compiles the patterns. Errors are a *PatternError, or wrap ErrFiles.
func Compile(o Options) (*Rules, error) {
	r := &Rules{executable: o.Files == Executable, parameters: o.Parameters, observe: o.Observe}
	if o.Files != "" {
		if _, err := ParseFiles(string(o.Files)); err != nil {
			return nil, err
		}
	}
	for _, list := range []struct {
		name  List
		texts []string
		into  *patterns
	}{{Include, o.Include, &r.include}, {Exclude, o.Exclude, &r.exclude}, {Hashed, o.Hashed, &r.hashed}, {Verity, o.Verity, &r.verity}} {
		var err error
		if *list.into, err = compile(list.name, list.texts); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Rules) lists() []patterns { return []patterns{r.include, r.exclude, r.hashed, r.verity} }

// Unmatched returns the patterns that matched no entry of any container of the run, in
// the order in which they were given. It returns none if nothing was listed or a listing
// ended early.
func (r *Rules) Unmatched() (unmatched []Pattern) {
	if r == nil || r.cut.Load() || !r.listed.Load() {
		return nil
	}
	for _, list := range r.lists() {
		for _, p := range list {
			if !p.hit.Load() {
				unmatched = append(unmatched, p.Pattern)
			}
		}
	}
	return unmatched
}

// Missed notes that a container of the run could not be listed.
func (r *Rules) Missed() {
	if r != nil {
		r.cut.Store(true)
	}
}

// New returns src with a Reason for each entry that the rules leave out, and HashOnly or
// Verity for entries that get a digest or an fs-verity signature. Errors of single entries come from src. If only the content
// of a file can tell whether it is selected, and the container has only its digest, the
// listing ends with ErrUnknown.
func New(src signing.Source, r *Rules) signing.Source {
	if r == nil || !r.executable && len(slices.Concat(r.lists()...)) == 0 {
		return src
	}
	return &selected{src: src, rules: r}
}

// Beside is New, but the rules are only for entries whose path listed does not report, such
// as those that a manifest does not list.
func Beside(src signing.Source, r *Rules, listed func(path string) bool) signing.Source {
	s := New(src, r)
	if selected, is := s.(*selected); is {
		selected.listed = listed
	}
	return s
}

type selected struct {
	src    signing.Source
	rules  *Rules
	listed func(path string) bool // nil for New
}

// Entries lists the entries of the source.
func (s *selected) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		l := listing{Rules: s.rules, beside: s.listed, trail: newTrail(s.rules.lists()...), first: map[string]value{}}
		for e, err := range s.src.Entries(ctx) {
			if err == nil {
				err = l.judge(ctx, &e)
			}
			if errors.Is(err, ErrUnknown) {
				e = signing.Entry{}
			}
			if !yield(e, err) || err != nil && e.Path == "" {
				s.rules.cut.Store(true)
				return
			}
		}
		if ctx.Err() == nil {
			s.rules.listed.Store(true)
		}
	}
}

// listing is one pass over a container.
type listing struct {
	*Rules
	beside func(path string) bool // reports what the rules are not for; nil for nothing
	trail  *trail
	first  map[string]value // by group, of its first name
}

// value is what an entry gets.
type value struct{ hashOnly, verity bool }

// judge gives the entry its Reason, or HashOnly or Verity.
func (l *listing) judge(ctx context.Context, e *signing.Entry) error {
	l.trail.follow(e.Path)
	included := len(l.include) == 0 || l.include.decide(l.trail) != nil
	excluded, hashed, verity := l.exclude.decide(l.trail), l.hashed.decide(l.trail), l.verity.decide(l.trail)
	switch {
	case e.Reason != "", l.beside != nil && l.beside(e.Path): // from the container, or not for the rules
		return nil
	case !included:
		e.Reason = "not included"
		return nil
	case excluded != nil:
		e.Reason = "excluded by " + excluded.Text
		return nil
	}
	if l.executable {
		if err := limit(ctx, e); err != nil || e.Reason != "" {
			return err
		}
	}
	e.HashOnly = e.HashOnly || hashed != nil
	if verity != nil && !e.HashOnly {
		e.Verity = &l.parameters
	}
	l.link(e)
	return nil
}

// link warns of a further name of a hard link for which the patterns decide differently.
// The Engine treats all names like the first one, which the value is attached to.
func (l *listing) link(e *signing.Entry) {
	if e.Group == "" || len(l.hashed)+len(l.verity) == 0 {
		return
	}
	now := value{e.HashOnly, e.Verity != nil}
	if first, known := l.first[e.Group]; !known {
		l.first[e.Group] = now
	} else if first != now {
		l.observe.Warn(e.Path, "is a hard link of a name that the patterns treat otherwise: the first one decides")
	}
}
