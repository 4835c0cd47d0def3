package tarball

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/stmode"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// CreateOptions are the options of [Create].
type CreateOptions struct {
	// Latest is the newest modification time in the archive (SOURCE_DATE_EPOCH). Newer times
	// are replaced by it. The zero time leaves all times as they are.
	Latest time.Time
	// CrossMounts enters file systems that are mounted inside the directory.
	CrossMounts bool
	// Jobs is the number of files that are read at the same time. Zero means one per core.
	Jobs int
	// Observe receives progress and warnings. The zero value ignores them.
	Observe signing.Observer
}

// Counts are the numbers of what Create has written.
type Counts struct {
	Entries, Links int64 // number of entries, and of the hard links among them
	Signed         int64 // number of entries with a signature in security.ima
	Bytes          int64 // bytes of content
}

// Create writes the tree below dir as an uncompressed pax archive to w. Entries are sorted
// by path and have names below "./", numeric owners and all xattrs, but no access and change
// times. Equal trees give equal bytes. Sockets are left out, with a warning.
//
// plan, unless nil, is a plan that pkg/rootfs made of the same tree. Entries get the plan's
// values, and every file must be in the same state as when it was planned. After an error
// the output is incomplete.
func Create(ctx context.Context, w io.Writer, dir string, plan *signing.Plan, o CreateOptions) (_ Counts, err error) {
	t, err := tree.Open(dir, tree.Options{CrossMounts: o.CrossMounts})
	if err != nil {
		return Counts{}, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	c := creator{tree: t, opts: o, links: map[inode]string{}, copying: make([]byte, 1<<20)}
	if err := c.follow(plan); err != nil {
		return Counts{}, err
	}
	defer c.stop()
	o.Observe.Tell(signing.Event{Kind: signing.Attaching})
	buf := bufio.NewWriterSize(onlyWriter{w}, 1<<20)
	c.buf, c.out = buf, tar.NewWriter(buf)
	err = c.write(ctx)
	if err == nil {
		err = c.out.Close()
	}
	if err == nil {
		err = buf.Flush()
	}
	return c.counts, err
}

type inode struct{ dev, ino uint64 }

func inodeOf(s tree.Stamp) inode { return inode{s.Dev, s.Ino} }

type creator struct {
	tree    *tree.Tree
	opts    CreateOptions
	buf     *bufio.Writer // out writes to it
	out     *tar.Writer
	links   map[inode]string // the first names in the archive of files with several names
	counts  Counts
	copying []byte

	next   func() (signing.Record, error, bool) // returns the next record of the plan; nil without a plan
	stop   func()
	shared map[inode]map[string][]byte // the plan's values of files with several names
}

// follow prepares to read the plan in parallel with the tree. It collects the values of
// files with several names first, because the first name in the archive need not be the
// name that the plan attaches to.
func (c *creator) follow(plan *signing.Plan) error {
	c.stop = func() {}
	if plan == nil {
		return nil
	}
	if err := plan.Attachable(); err != nil {
		return err
	}
	c.shared = map[inode]map[string][]byte{}
	for r, err := range plan.Records() {
		if err != nil {
			return err
		}
		if r.Group == "" || r.Same != "" || r.Status() == signing.Skipped {
			continue
		}
		var s tree.Stamp
		if err := s.UnmarshalBinary(r.Token); err != nil {
			return fmt.Errorf("plan of %s: %w", r.Path, err)
		}
		c.shared[inodeOf(s)] = r.ByXattr()
	}
	c.next, c.stop = iter.Pull2(plan.Records())
	return nil
}

func (c *creator) write(ctx context.Context) error {
	var failed error
	err := pipeline.Ordered(ctx, c.opts.Jobs, readAhead, c.nodes(ctx), c.reader, func(f *file) error {
		if failed == nil { // otherwise the file was read ahead in vain
			failed = c.writeFile(ctx, f)
		}
		return errors.Join(failed, f.close())
	})
	if err != nil {
		return err
	}
	if c.next != nil {
		if r, err, more := c.next(); more {
			return errors.Join(err, fmt.Errorf("%s: %w: it no longer exists", c.tree.Name(r.Path), tree.ErrChanged))
		}
	}
	return nil
}

func (c *creator) writeFile(ctx context.Context, f *file) error {
	if f.err != nil {
		return f.err
	}
	values, err := c.planned(&f.node)
	if err != nil {
		return err
	}
	return c.add(ctx, f, values)
}

// planned returns the plan's values of n, and checks that n is in the planned state.
func (c *creator) planned(n *tree.Node) (map[string][]byte, error) {
	if c.next == nil || n.Path == "" {
		return nil, nil
	}
	r, err, more := c.next()
	if err != nil {
		return nil, err
	}
	if !more || r.Path != n.Path {
		return nil, fmt.Errorf("%s: %w: it did not exist when the signatures were planned", c.tree.Name(n.Path), tree.ErrChanged)
	}
	var was tree.Stamp
	if err := was.UnmarshalBinary(r.Token); err != nil {
		return nil, fmt.Errorf("plan of %s: %w", r.Path, err)
	}
	if err := was.Check(n.Stamp); err != nil {
		return nil, fmt.Errorf("%s: %w", c.tree.Name(n.Path), err)
	}
	if values, ok := c.shared[inodeOf(n.Stamp)]; ok {
		return values, nil
	}
	return r.ByXattr(), nil
}

// add writes one entry.
func (c *creator) add(ctx context.Context, f *file, values map[string][]byte) error {
	n := &f.node
	if n.Mode&fs.ModeSocket != 0 {
		c.opts.Observe.Warn(n.Path, "is a socket, which a tar archive cannot contain: left out")
		return nil
	}
	h := c.header(n)
	first, linked := c.links[inodeOf(n.Stamp)]
	switch {
	case linked:
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		c.counts.Links++
	case n.Links > 1 && n.Mode.IsRegular():
		c.links[inodeOf(n.Stamp)] = h.Name
	}
	if n.Mode&fs.ModeSymlink != 0 {
		h.Linkname = f.target
	}
	h.PAXRecords = records(h, f.xattrs, values, linked)
	if err := c.writeHeader(h); err != nil {
		return fmt.Errorf("%s: %w", c.tree.Name(n.Path), err)
	}
	c.counts.Entries++
	if v, err := ima.Parse([]byte(h.PAXRecords[keySCHILY+ima.XattrIMA])); err == nil && v.IsSignature() {
		c.counts.Signed++
	}
	c.counts.Bytes += h.Size
	if h.Size > 0 {
		if err := f.copy(ctx, c.out, c.copying); err != nil {
			return err
		}
	}
	c.opts.Observe.Tell(signing.Event{Kind: signing.Attached, Path: n.Path, Entries: 1, Bytes: h.Size})
	return nil
}

// writeHeader writes a header with archive/tar. archive/tar drops bytes that are not ASCII
// from the header block's link target. The target must not be empty there, because bsdtar
// extracts such a link as a file (see scanner.primes).
func (c *creator) writeHeader(h *tar.Header) error {
	if h.Linkname == "" || strings.ContainsFunc(h.Linkname, func(r rune) bool { return r < utf8.RuneSelf }) {
		return c.out.WriteHeader(h)
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := tar.NewWriter(&text).WriteHeader(h); err != nil {
		return err
	}
	b := (*block)(text.Bytes()[text.Len()-blockSize:])
	copy(b[157:257], h.Linkname)
	b.sum()
	_, err := c.buf.Write(text.Bytes())
	return err
}

func (c *creator) header(n *tree.Node) *tar.Header {
	h := &tar.Header{
		Format: tar.FormatPAX, Name: "./" + n.Path, Mode: int64(stmode.Permissions(n.Mode)), Uid: int(n.UID), Gid: int(n.GID),
		ModTime: time.Unix(0, n.Stamp.Mtime), Devmajor: int64(n.Major), Devminor: int64(n.Minor),
	}
	if latest := c.opts.Latest; !latest.IsZero() && h.ModTime.After(latest) {
		h.ModTime = latest
	}
	switch {
	case n.Mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, n.Size
	case n.Mode.IsDir():
		h.Typeflag = tar.TypeDir
		if n.Path != "" {
			h.Name += "/"
		}
	case n.Mode&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
	case n.Mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case n.Mode&fs.ModeCharDevice != 0:
		h.Typeflag = tar.TypeChar
	default:
		h.Typeflag = tar.TypeBlock
	}
	return h
}

// records returns an entry's pax records, except those that archive/tar writes itself. A
// hard link has no records of xattrs, because it shares those of the entry that it names.
func records(h *tar.Header, xattrs, values map[string][]byte, linked bool) map[string]string {
	all := map[string]string{}
	if !linked {
		for name, value := range xattrs {
			if text, ok := aclText(value); ok && aclRecords[name] != "" {
				all[aclRecords[name]] = text
			} else {
				all[keySCHILY+name] = string(value)
			}
		}
		for name, value := range values {
			if all[keySCHILY+name] = string(value); value == nil {
				delete(all, keySCHILY+name)
			}
		}
	}
	if !utf8.ValidString(h.Name) || !utf8.ValidString(h.Linkname) {
		all["hdrcharset"] = "BINARY"
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
