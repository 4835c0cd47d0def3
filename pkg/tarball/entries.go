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

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

var _ signing.Source = (*Archive)(nil)

// Entries lists the archive's entries in its order, with cleaned paths; what is
// not to be signed has a Reason. The archive's root ("./") is left out, as in the
// listing of a tree. Hard links are grouped with the entry that they name, except
// those that carry records of their own: to bsdtar, which applies them, they are
// as good as another file.
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
	first  string // path of its first entry
	member *member
	xattrs map[string][]byte
	second []byte // see signing.Entry.Second
	size   int64
	twice  bool // the path is there more than once: nobody can say which is meant
}

type listing struct {
	*Archive
	files map[string]linked
	holes int64 // bytes of them met so far
}

// list yields what becomes of one member: nothing, an entry, or two.
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
	if err != nil {
		return yield(e, fmt.Errorf("%s: %s: %w", l.name, e.Path, err))
	}
	if e.Second == nil {
		e.Second = second[ima.XattrIMA]
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

// complete adds to the entry its xattrs, and content or the reason for having
// none. second are other xattrs that programs see.
func (l *listing) complete(m *member, h *tar.Header, e *signing.Entry) (second map[string][]byte, err error) {
	if m.pax != nil {
		if e.Xattrs, second, err = xattrs(m.pax.records); err != nil {
			return nil, err
		}
	}
	if m.typeflag == typeLink && l.opts.Whiteouts && isWhiteout(cleanPath(h.Linkname)) {
		return nil, fmt.Errorf("%w: a hard link to a whiteout, which aufs's layers give content to", ErrFormat)
	}
	if m.typeflag == typeLink {
		if err := l.link(cleanPath(h.Linkname), e); err != nil {
			return nil, err
		}
		if len(second) == 0 { // GNU tar takes no records of links
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

// addHoles counts what a sparse file has less in the archive: a header of a few
// bytes can declare a hole that no processor gets through.
func (l *listing) addHoles(size int64) error {
	if size <= 0 {
		return nil
	}
	if l.holes += size; l.holes > l.opts.UnpackLimit || l.holes < 0 {
		return fmt.Errorf("holes in sparse files: %w (%d bytes)", ErrUnpackLimit, l.opts.UnpackLimit)
	}
	return nil
}

// unsigned says why an entry that is no hard link is not signed.
func unsigned(e *signing.Entry, whiteouts bool) string {
	switch {
	case !e.Mode.IsRegular():
		return manifest.Kind(e.Mode)
	case whiteouts && isWhiteout(e.Path):
		return "whiteout"
	}
	return ""
}

// isWhiteout tells a mark of deletion in a layer of a container image.
func isWhiteout(name string) bool { return strings.HasPrefix(path.Base(name), ".wh.") }

// link completes a hard link. A record of its own is about the file that it
// names, which therefore has to be known.
func (l *listing) link(target string, e *signing.Entry) error {
	file, known := l.files[target]
	_, hasIMA := e.Xattrs[ima.XattrIMA]
	_, hasEVM := e.Xattrs[ima.XattrEVM]
	e.Size = file.size
	switch {
	case !known:
		e.Reason = fmt.Sprintf("hard link to %q, which is no regular file before it", target)
	case file.twice:
		e.Reason = fmt.Sprintf("hard link to %q, which is there twice", target)
	case hasIMA || hasEVM:
		e.Open = l.opener(file.member)
	case file.first == e.Path: // an entry that repeats a path is one of its own
		e.Open, e.Xattrs, e.Second = l.opener(file.member), file.xattrs, file.second
	default:
		// A record goes to the entry with the content: GNU tar takes none of links.
		e.Group, e.Open, e.Token = file.first, l.opener(file.member), token(file.member)
		e.Xattrs, e.Second = file.xattrs, file.second
	}
	if e.Reason != "" && (hasIMA || hasEVM) {
		return fmt.Errorf("%w: signed %s", ErrAmbiguous, e.Reason)
	}
	return nil
}

// remember keeps what a later hard link may name, which survey has found out.
func (l *listing) remember(m *member, e *signing.Entry) {
	if !l.targets[e.Path] {
		return
	}
	_, twice := l.files[e.Path]
	switch {
	case twice:
		l.files[e.Path] = linked{twice: true}
	case e.Reason != "":
	case e.Group != "":
		l.files[e.Path] = l.files[e.Group]
	case m.typeflag != typeLink:
		e.Group = e.Path
		l.files[e.Path] = linked{first: e.Path, member: m, size: e.Size, xattrs: e.Xattrs, second: e.Second}
	}
}

// opener returns the Open of m's content: the bytes as they lie in the archive,
// or, for a sparse file, with its holes.
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

// content is a file being read. It fails, rather than end, when the archive was
// changed.
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

// owner is a numeric id from the header unless a global header states another
// one, which one of the entry's own would overrule.
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

// modeOf goes by the type flag, as all programs do: type bits in the mode field
// mean nothing.
func modeOf(m *member, h *tar.Header) fs.FileMode {
	plain := *h
	plain.Mode &= 0o7777
	mode := plain.FileInfo().Mode()
	// A name with a slash at the end is a directory's, in archives from before
	// there was a type for them.
	if m.typeflag == typeDump || mode.IsRegular() && m.typeflag != typeLink && strings.HasSuffix(h.Name, "/") {
		mode |= fs.ModeDir
	}
	return mode
}

// cleanPath makes a name of the archive relative and as short as it gets without
// looking at "..", "" for the archive's root.
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
