// Package tarball is a tar archive as container of signatures: security.ima and
// its siblings are pax records of the entries ("SCHILY.xattr.security.ima"), so
// that neither root nor a file system with xattrs is needed to put them there.
//
// An Archive lists entries for a plan of pkg/signing; Rewrite, and with it a Copy,
// writes the archive anew with what the plan attaches. It works on the archive's blocks: an entry that gets a
// record gets a pax extended header before it, or its record into the one that
// is there, and every other byte stays what it was, in whatever dialect of tar.
// Create makes a reproducible archive of a directory tree. Compression is
// recognised by content and written by parallel encoders.
//
// What an archive's headers mean is GNU tar's, bsdtar's and archive/tar's word: archives
// about which they disagree are refused (ErrAmbiguous). Digesting, signing and the plan
// are pkg/signing's, and a file that appears whole or not at all is the caller's.
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

// Errors that callers decide by. All are wrapped with what was being read.
var (
	// ErrFormat means input that is not a tar archive, or one whose parts
	// contradict each other.
	ErrFormat = errors.New("not a valid tar archive")
	// ErrAmbiguous means an archive that GNU tar, bsdtar and archive/tar do not read
	// alike, or that only some of them read: no signature holds for all.
	ErrAmbiguous = errors.New("programs read this differently")
	// ErrTruncated means an archive that ends inside an entry.
	ErrTruncated = errors.New("the archive is cut short")
	// ErrTooLarge means input that exceeds a limit of Options or of this package.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrUnpackLimit is an ErrTooLarge: the input unpacks to more than Options.UnpackLimit.
	ErrUnpackLimit = fmt.Errorf("%w", ErrTooLarge)
	// ErrSpool means that what was unpacked could not be kept in a temporary file.
	ErrSpool = errors.New("spool")
	// ErrCompression means compressed data that does not decompress.
	ErrCompression = errors.New("compression")
)

// DefaultUnpackLimit is what an archive may unpack to where Options does not say.
const DefaultUnpackLimit = 64 << 30

// Options of Open.
type Options struct {
	// UnpackLimit bounds what small input can grow to: how many bytes of a pipe's or
	// a compressed archive's content are spooled, and how many bytes of holes in
	// sparse files are digested. Zero stands for DefaultUnpackLimit.
	UnpackLimit int64
	// SpoolDir is where they are spooled; "" stands for os.TempDir.
	SpoolDir string
	// EveryRecord lists an entry twice when its SCHILY and LIBARCHIVE records of
	// security.ima differ, or it has the latter alone, so that a verification judges
	// both: which of them is extracted depends on the program. Plans are made without.
	EveryRecord bool
	// Filled refuses an archive whose last entry does not fill its block: GNU tar
	// extracts it without content. Rewrite fills it up.
	Filled bool
	// Whiteouts takes names that begin with ".wh." for what they are in layers of
	// container images, marks of deletion, which are not signed.
	Whiteouts bool
	// Observe gets the progress of Rewrite, how much there is in the archive, and warnings,
	// from any goroutine.
	Observe signing.Observer
}

// Archive is an open tar archive, decompressed. It is safe for concurrent use.
type Archive struct {
	name        string
	file        io.ReaderAt
	size        int64 // of whole blocks
	stored      int64 // how much of it is there, the rest are zeros that were left out
	compression compress.Format
	opts        Options
	targets     map[string]bool // paths that hard links name
	entries     int64
	end         int64 // of the last member: where the end-of-archive blocks begin
	top         tops

	source *os.File // what file reads from where that is the input itself
	stamp  tree.Stamp
	spool  *os.File
}

// Open reads the archive in, called name in errors. A regular file that is not compressed
// is read where it lies, as often as needed, and must not change meanwhile; everything
// else is decompressed into a file without a name. An io.SectionReader that is not
// compressed is read where it lies, too. The whole structure is checked before Open
// returns. The caller closes in, after the Archive. Errors wrap ErrFormat, ErrAmbiguous,
// ErrTruncated, ErrTooLarge, ErrSpool, ErrCompression, or what in returned.
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

// Close releases the spool, where there is one.
func (a *Archive) Close() error {
	if a.spool == nil {
		return nil
	}
	return a.spool.Close()
}

// Compression is how the input was compressed: none, gzip, zstd, xz, bzip2 or lz4.
func (a *Archive) Compression() string { return string(a.compression) }

// Content is the whole archive, decompressed, in bytes that are there until Close.
func (a *Archive) Content() *io.SectionReader { return io.NewSectionReader(a.file, 0, a.stored) }

// Unchanged fails if the input is not what it was when it was opened. Whoever reads
// Content asks at the end.
func (a *Archive) Unchanged() error {
	if err := a.unchanged(); err != nil {
		return a.errorf(err)
	}
	return nil
}

// topNames are the files by which an archive of a container image is known.
var topNames = []string{"oci-layout", "index.json", "manifest.json", "repositories"}

type place struct{ at, size int64 }

// tops are such files in the archive's root, or in the one directory that holds
// everything.
type tops struct {
	files map[string]place
	dir   string // the first entry's
	mixed bool   // there are others
}

// Top is the content of a file in the archive's root, or in the only directory that
// is there; nil where there is none. Only the files that make an archive one of a
// container image are kept in mind: oci-layout, index.json, manifest.json and
// repositories.
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

// note remembers such a file. Their names are short: the header has them. note reports
// false for the archive's root.
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

// survey reads every header once: that the structure holds to its end, and which
// entries hard links name, which a listing has to know before it meets the links.
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
		return fmt.Errorf("%w: zeros are missing behind the last entry's content, and GNU tar does not extract it; signing adds them", ErrTruncated)
	}
	trailing, err := a.trailing(ctx)
	switch {
	case trailing && a.entries == 0:
		return fmt.Errorf("%w: the archive ends before its first entry, and more than zeros follow", ErrAmbiguous)
	case trailing:
		a.opts.Observe.Warn(a.name, fmt.Sprintf("has more than zeros after the archive's end at byte %d, perhaps another archive: nothing there is signed or verified", a.end))
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

// unchanged holds that the input is what it was when it was opened.
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

// token is how a plan's record finds its member again: by the offset of its
// first block.
func token(m *member) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(m.start)) }

func offsetOf(token []byte) (int64, error) {
	if len(token) != 8 {
		return 0, fmt.Errorf("the plan is not of a tar archive: a token of %d bytes", len(token))
	}
	return int64(binary.LittleEndian.Uint64(token)), nil
}
