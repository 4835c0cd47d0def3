package tarball

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strconv"
	"strings"

	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var _ signing.Source = (*Archive)(nil)

// Entries lists the archive's entries in its order, with cleaned paths. Entries that must
// not be signed have a Reason. The archive's root ("./") is left out, as in the listing of
// a tree. A hard link is grouped with the entry that it names, unless it has its own
// security.ima or security.evm record. bsdtar applies such a record, so the link is treated
// as another file.
func (a *Archive) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		l := listing{Archive: a, files: map[string]linked{}}
		for s := a.scan(); ; {
			m, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(signing.Entry{}, a.errorf(err))
				return
			}
			if !l.list(m, yield) {
				return
			}
		}
	}
}

// linked is a file that hard links name.
type linked struct {
	first   string // path of its first entry
	member  *member
	xattrs  map[string][]byte
	second  map[string][]byte // see signing.Entry.Second
	entry   signing.Entry     // for its owner and mode
	size    int64
	special bool // it is neither a regular file nor a directory
	twice   bool // the path repeats, so it is unknown which entry a link means
}

type listing struct {
	*Archive
	files map[string]linked
	holes int64 // bytes of holes so far
}

// list yields the entries of one member: none, one or two.
func (l *listing) list(m *member, yield func(signing.Entry, error) bool) bool {
	switch m.typeflag {
	case typePaxGlobal, typeVolume:
		return true
	}
	h, err := l.header(m)
	if err != nil {
		return yield(signing.Entry{}, l.errorf(err))
	}
	e := signing.Entry{Path: cleanPath(h.Name), Mode: modeOf(m, h), UID: m.owner("uid", h.Uid), GID: m.owner("gid", h.Gid), Token: token(m)}
	if e.Path == "" {
		return true
	}
	second, err := l.complete(m, h, &e)
	if err == nil {
		err = describe(m, h, &e)
	}
	if err != nil {
		return yield(e, fmt.Errorf("%s: %s: %w", l.name, e.Path, err))
	}
	l.remember(m, &e)
	if !yield(e, nil) {
		return false
	}
	if second == nil || e.Reason != "" || !l.opts.EveryRecord {
		return true
	}
	e.Group, e.Xattrs, e.Second = "", second, nil
	return yield(e, nil)
}

// complete adds to the entry its xattrs, and its content or the Reason. second are the
// xattrs that some programs see instead, nil if their security.ima and security.evm are the
// same.
func (l *listing) complete(m *member, h *tar.Header, e *signing.Entry) (second map[string][]byte, err error) {
	if m.pax != nil {
		var all recorded
		if all, err = xattrs(m.pax.records); err != nil {
			return nil, err
		}
		e.Xattrs, e.Second, second = all.values, all.others(), all.second()
	}
	if m.typeflag == typeLink && l.opts.Whiteouts && isWhiteout(cleanPath(h.Linkname)) {
		return nil, fmt.Errorf("%w: a hard link to a whiteout, which has content in layers of aufs", ErrFormat)
	}
	if m.typeflag == typeLink {
		if err := l.link(cleanPath(h.Linkname), e); err != nil {
			return nil, err
		}
		if !hasSignature(second) { // GNU tar ignores records of links
			second = nil
		}
	} else if e.Reason = unsigned(e, l.opts.Whiteouts); e.Reason == "" {
		e.Size, e.Open = h.Size, l.opener(m)
		if err := l.addHoles(e.Size - m.size); err != nil {
			return nil, err
		}
	}
	return second, nil
}

// addHoles counts the bytes that a sparse file lacks in the archive. A header of a few
// bytes can declare a hole that takes forever to digest.
func (l *listing) addHoles(size int64) error {
	if size <= 0 {
		return nil
	}
	if l.holes += size; l.holes > l.opts.UnpackLimit || l.holes < 0 {
		return fmt.Errorf("holes in sparse files: %w (%d bytes)", ErrUnpackLimit, l.opts.UnpackLimit)
	}
	return nil
}

// unsigned returns the reason why an entry that is not a hard link is not signed, or "".
func unsigned(e *signing.Entry, whiteouts bool) string {
	switch {
	case !e.Mode.IsRegular():
		return manifest.Kind(e.Mode)
	case whiteouts && isWhiteout(e.Path):
		return "whiteout"
	}
	return ""
}

// isWhiteout reports whether a name marks a deleted file in a layer of a container image.
func isWhiteout(name string) bool { return strings.HasPrefix(path.Base(name), ".wh.") }

// link completes a hard link to the entry target. If the link has its own record, that
// record is about the target's content, so the target must be known.
func (l *listing) link(target string, e *signing.Entry) error {
	file, known := l.files[target]
	own := hasSignature(e.Xattrs)
	e.Size = file.size
	switch {
	case !known, file.special && own:
		e.Reason = fmt.Sprintf("hard link to %q, which is not a regular file before it", target)
	case file.special:
		special(e, &file.entry)
	case file.twice:
		e.Reason = fmt.Sprintf("hard link to %q, which appears twice", target)
	case own:
		e.Open = l.opener(file.member)
	case file.first == e.Path: // a link of its own path is a separate entry
		e.Open, e.Xattrs, e.Second = l.opener(file.member), file.xattrs, file.second
	default:
		// The record is attached to the entry with the content, because GNU tar ignores
		// records of links.
		e.Group, e.Open, e.Token = file.first, l.opener(file.member), token(file.member)
		e.Xattrs, e.Second = file.xattrs, file.second
		// Nor do programs read the owner and the mode of a link.
		e.UID, e.GID, e.Mode = file.entry.UID, file.entry.GID, file.entry.Mode
	}
	if e.Reason != "" && own {
		return fmt.Errorf("%w: signed %s", ErrAmbiguous, e.Reason)
	}
	return nil
}

// remember records an entry that a later hard link names, as survey has found.
func (l *listing) remember(m *member, e *signing.Entry) {
	if !l.targets[e.Path] {
		return
	}
	before, twice := l.files[e.Path]
	switch {
	case twice && !before.special:
		l.files[e.Path] = linked{twice: true}
	case !e.Mode.IsRegular() && !e.Mode.IsDir():
		l.files[e.Path] = linked{entry: *e, special: true}
	case e.Reason != "":
	case e.Group != "":
		l.files[e.Path] = l.files[e.Group]
	case m.typeflag != typeLink:
		e.Group = e.Path
		l.files[e.Path] = linked{first: e.Path, member: m, size: e.Size, xattrs: e.Xattrs, second: e.Second, entry: *e}
	}
}

// opener returns the Open function of m: it reads the bytes in the archive or, for a sparse
// file, the content with its holes.
func (l *listing) opener(m *member) func(context.Context) (*signing.File, error) {
	a := l.Archive
	return func(context.Context) (*signing.File, error) {
		if !m.isSparse() {
			return &signing.File{ReadCloser: &content{io.NewSectionReader(a.file, m.content, m.size), a}}, nil
		}
		r, _, err := a.reader(m)
		if err != nil {
			return nil, a.errorf(err)
		}
		return &signing.File{ReadCloser: &content{r, a}}, nil
	}
}

// content is the open content of an entry. If the archive has changed, reading ends with an
// error.
type content struct {
	io.Reader
	archive *Archive
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		err = c.archive.unchanged()
	}
	if err == nil {
		return n, io.EOF
	}
	return n, c.archive.errorf(err)
}

func (c *content) Close() error { return nil }

// owner returns a numeric id. A pax record of the entry has precedence over the global
// header's record, which has precedence over the header block. key is "uid" or "gid", and id is the id that
// archive/tar returns, which ignores global headers.
func (m *member) owner(key string, id int) uint32 {
	own := ""
	if m.pax != nil {
		own = value(m.pax.records, key)
	}
	global := map[string]string{"uid": m.uid, "gid": m.gid}[key]
	if n, err := strconv.ParseUint(global, 10, 32); err == nil && own == "" {
		return uint32(n)
	}
	return uint32(id)
}

// modeOf takes the file type from the type flag, as all programs do. They ignore the type
// bits of the mode field.
func modeOf(m *member, h *tar.Header) fs.FileMode {
	plain := *h
	plain.Mode &= 0o7777
	mode := plain.FileInfo().Mode()
	// A name that ends in a slash is a directory. Old archives have no type for
	// directories.
	if m.typeflag == typeDump || mode.IsRegular() && m.typeflag != typeLink && strings.HasSuffix(h.Name, "/") {
		mode |= fs.ModeDir
	}
	return mode
}

// cleanPath makes a name of the archive relative, and removes empty names and ".". It keeps
// "..". It returns "" for the archive's root.
func cleanPath(name string) string {
	if !strings.Contains(name, "./") && !strings.Contains(name, "//") && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.HasSuffix(name, "/.") && name != "." {
		return name
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/")
}
