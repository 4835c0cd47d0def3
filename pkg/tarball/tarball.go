// Package tarball reads the entries of tar archives, and attaches signatures to them.
// security.ima and other xattrs are pax records of the entries
// ("SCHILY.xattr.security.ima"). Attaching them needs neither root nor a file system with
// xattrs.
//
// An [Archive] lists entries for a plan of pkg/signing, which digests and signs them.
// [Archive.Rewrite] writes a copy of the archive with the values of the plan. It works on
// the archive's blocks: it puts a pax extended header before an entry, or adds a record to
// the existing one. All other bytes stay the same, in any dialect of tar. [Create] makes a
// reproducible archive of a directory tree.
//
// [Open] recognises and decompresses compressed archives. Output is never compressed, and
// is written to an io.Writer: the caller compresses it and makes a file of it.
//
// GNU tar, bsdtar and archive/tar must agree about the contents of an archive. Archives
// that they read differently are refused ([ErrAmbiguous]).
package tarball

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors that callers act on. Match them with [errors.Is].
var (
	// ErrFormat means that the input is not a tar archive, or that its parts contradict
	// each other.
	ErrFormat = errors.New("not a valid tar archive")
	// ErrAmbiguous means that GNU tar, bsdtar and archive/tar read the archive differently,
	// or that not all of them read it. No signature would be valid for all programs.
	ErrAmbiguous = errors.New("programs read this differently")
	// ErrTruncated means that the archive ends inside an entry.
	ErrTruncated = errors.New("the archive is cut short")
	// ErrTooLarge means that the input exceeds a limit of Options or of this package.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrUnpackLimit means that the input unpacks to more than Options.UnpackLimit. It
	// wraps ErrTooLarge.
	ErrUnpackLimit = fmt.Errorf("%w", ErrTooLarge)
	// ErrSpool means that decompressed data could not be written to a temporary file.
	ErrSpool = errors.New("spool")
	// ErrCompression means that compressed data cannot be decompressed.
	ErrCompression = errors.New("compression")
)

// DefaultUnpackLimit is the default of Options.UnpackLimit, in bytes.
const DefaultUnpackLimit = 64 << 30

// Options are the options of [Open].
type Options struct {
	// UnpackLimit limits how far small input can grow, in bytes. It limits the spooled
	// content of a pipe or a compressed archive, and the total size of the holes in sparse
	// files. Zero means DefaultUnpackLimit.
	UnpackLimit int64
	// SpoolDir is the directory of the spool. "" means os.TempDir.
	SpoolDir string
	// EveryRecord lists an entry twice if its SCHILY and LIBARCHIVE records of security.ima
	// differ, or if it has only the latter. Then a verification judges both: which one is
	// extracted depends on the program. Leave it false to make plans.
	EveryRecord bool
	// Filled refuses an archive whose last entry does not fill its block. GNU tar extracts
	// such an entry without content. Rewrite adds the missing zeros.
	Filled bool
	// Whiteouts leaves files whose names begin with ".wh." unsigned. In layers of container
	// images such names mark deleted files.
	Whiteouts bool
	// Observe receives the size of the archive ([signing.Listed]), the progress of Rewrite,
	// and warnings. The zero value ignores them.
	Observe signing.Observer
}

// Archive is an open, decompressed tar archive. It is safe for concurrent use.
type Archive struct {
	name        string
	file        io.ReaderAt
	size        int64 // in bytes, rounded up to whole blocks
	stored      int64 // number of bytes in the input; zeros follow up to size
	compression compress.Format
	opts        Options
	targets     map[string]bool // paths that hard links name
	entries     int64
	end         int64 // end of the last member, where the end-of-archive blocks begin
	top         tops

	source *os.File // the input, if file reads from it directly
	stamp  tree.Stamp
	spool  *os.File
}

// Open reads the archive in. Errors and warnings call it name. The caller closes in, after
// the Archive.
//
// An uncompressed *os.File that is a regular file, or an uncompressed *io.SectionReader, is
// read in place, several times, and must not change while the Archive is in use. A file is
// read from its current offset. All other input is decompressed into an unnamed temporary
// file.
//
// Open checks the structure of the whole archive. Errors wrap [ErrFormat],
// [ErrAmbiguous], [ErrTruncated], [ErrTooLarge], [ErrSpool] or [ErrCompression], or are
// those of in.
func Open(ctx context.Context, in io.Reader, name string, o Options) (*Archive, error) {
	if o.UnpackLimit == 0 {
		o.UnpackLimit = DefaultUnpackLimit
	}
	a := &Archive{name: name, opts: o}
	err := a.load(ctx, in)
	if err == nil {
		err = a.survey(ctx)
	}
	if err != nil {
		return nil, errors.Join(a.errorf(err), a.Close())
	}
	return a, nil
}

// Close releases the temporary file, if there is one.
func (a *Archive) Close() error {
	if a.spool == nil {
		return nil
	}
	return a.spool.Close()
}

// Compression returns the compression of the input: "none", "gzip", "zstd", "xz", "bzip2"
// or "lz4".
func (a *Archive) Compression() string { return string(a.compression) }

// Content returns a reader of the whole decompressed archive. It is valid until Close.
// After reading, call [Archive.Unchanged].
func (a *Archive) Content() *io.SectionReader { return io.NewSectionReader(a.file, 0, a.stored) }

// Unchanged returns an error if the input has changed since Open.
func (a *Archive) Unchanged() error {
	if err := a.unchanged(); err != nil {
		return a.errorf(err)
	}
	return nil
}

// topNames are the files that identify an archive of a container image.
var topNames = []string{"oci-layout", "index.json", "manifest.json", "repositories"}

type place struct{ at, size int64 }

// tops are these files in the archive's root, or in the only directory of the root.
type tops struct {
	files map[string]place
	dir   string // the first name in the root
	mixed bool   // the root has other names too
}

// Top returns the content of a file in the archive's root, or in the only directory of the
// root. It returns nil if there is no such file. It finds only the files that identify an
// archive of a container image: oci-layout, index.json, manifest.json and repositories.
func (a *Archive) Top(name string) *io.SectionReader {
	s, there := a.top.files[name]
	if !there && !a.top.mixed {
		s, there = a.top.files[a.top.dir+"/"+name]
	}
	if !there {
		return nil
	}
	return io.NewSectionReader(a.file, s.at, s.size)
}

// note records m if it is one of these files. Their names are short, so they are in the
// header block. note reports false for the archive's root.
func (t *tops) note(m *member) bool {
	raw, _, _ := bytes.Cut(m.block[:100], []byte{0})
	name := cleanPath(string(raw))
	dir, _, _ := strings.Cut(name, "/")
	switch {
	case name == "":
		return false
	case t.dir == "":
		t.dir = dir
	case t.dir != dir:
		t.mixed = true
	}
	if slices.Contains(topNames, name) || slices.Contains(topNames, strings.TrimPrefix(name, t.dir+"/")) {
		t.files[name] = place{m.content, m.size}
	}
	return true
}

func (a *Archive) errorf(err error) error { return fmt.Errorf("%s: %w", a.name, err) }

// survey reads every header once. It checks the structure of the whole archive, and
// records the entries that hard links name: a listing must know them before it reaches
// the links.
func (a *Archive) survey(ctx context.Context) error {
	a.targets, a.top.files = map[string]bool{}, map[string]place{}
	a.fill()
	if err := a.checkBeginning(); err != nil {
		return err
	}
	s, listed := a.scan(), signing.Event{Kind: signing.Listed}
	for {
		m, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && m.typeflag == typeLink {
			err = a.noteTarget(m)
		}
		if err != nil {
			return err
		}
		if a.top.note(m) && m.typeflag != typePaxGlobal && m.typeflag != typeVolume {
			listed.Entries++
			listed.Bytes += m.size
		}
		a.entries++
	}
	if a.end = s.offset; a.size == 0 {
		return fmt.Errorf("%w: it is empty", ErrFormat)
	}
	if a.opts.Filled && a.end > a.stored {
		return fmt.Errorf("%w: the last entry's content does not fill its block, and GNU tar does not extract it: signing adds the missing zeros", ErrTruncated)
	}
	trailing, err := a.trailing(ctx)
	switch {
	case trailing && a.entries == 0:
		return fmt.Errorf("%w: the archive ends before its first entry, but data follows", ErrAmbiguous)
	case trailing:
		a.opts.Observe.Warn(a.name, fmt.Sprintf("has data after the archive's end at byte %d, perhaps another archive: nothing there is signed or verified", a.end))
	}
	if err == nil {
		a.opts.Observe.Tell(listed)
	}
	return err
}

func (a *Archive) noteTarget(m *member) error {
	h, err := a.header(m)
	if err == nil {
		a.targets[cleanPath(h.Linkname)] = true
	}
	return err
}

// unchanged checks that the input has not changed since it was opened.
func (a *Archive) unchanged() error {
	if a.source == nil {
		return nil
	}
	now, err := tree.StampOf(a.source)
	if err != nil {
		return err
	}
	return a.stamp.Check(now)
}

// token returns what a plan's record finds its member by: the offset of the member's first
// block, little-endian.
func token(m *member) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(m.start)) }

func offsetOf(token []byte) (int64, error) {
	if len(token) != 8 {
		return 0, fmt.Errorf("the plan is not for a tar archive: its token has %d bytes", len(token))
	}
	return int64(binary.LittleEndian.Uint64(token)), nil
}
