package rpmsign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sassoftware/go-rpmutils/cpio"

	"github.com/imasign/imasign-build/pkg/ima"
)

// A version 2 signature of a content that is a file_id, or the input of an EVM digest, is
// also a signature of another file (signing.ErrDoubleUse). A package states digests, so for
// such contents the payload is unpacked, but only for files of the few sizes that they have
// (ima.AmbiguousSize), and only when such a signature is about to be made or accepted.
//
// That a certificate says its key is for version 2 makes no difference: kernels do not know
// purposes. From Linux 7.1 on, they take the signature for one of version 3 under every rule
// with "appraise_type=imasig".
//
// The sizes are those that the header states. A package whose header lies about a size fails
// Check with CheckFiles, and rpm does not install it, unless the file is a hard link: rpm
// knows only the size of the link's last name. So all names of a link count as one.
//
// Nothing but Check with CheckFiles keeps a package that nobody could install from getting a
// signature of a digest whose content was never seen.

// mayDouble returns, by file, whether the payload has to be read for it.
func mayDouble(files []file) []bool {
	may, linked := make([]bool, len(files)), map[uint64]bool{}
	for i := range files {
		f := &files[i]
		may[i] = f.Digest != nil && f.Mode.IsRegular() && ima.AmbiguousSize(f.Size)
		if may[i] && f.Inode != 0 {
			linked[f.Inode] = true
		}
	}
	for i := range files {
		f := &files[i]
		may[i] = may[i] || f.Digest != nil && f.Mode.IsRegular() && linked[f.Inode]
	}
	return may
}

// doubleUses finds files with such contents. The payload is read when the first file is
// asked about, unless Check has read it.
type doubleUses struct {
	ctx   context.Context //nolint:containedctx // that of Entries, which the functions of its entries use
	of    *Package
	once  sync.Once
	found map[string]bool // by digest: whether the content is one of them
	err   error
}

func (d *doubleUses) read() {
	if d.found = d.of.doubles; d.found == nil {
		d.found, d.err = d.of.readDoubleUses(d.ctx)
	}
}

// file returns the function for an entry (signing.Entry.DoubleUse) that [mayDouble] names.
func (d *doubleUses) file(f *file) func() (bool, error) {
	if f.Flags&fileGhost != 0 {
		return func() (bool, error) { return true, nil } // it may be: no payload has its content
	}
	return func() (bool, error) {
		d.once.Do(d.read)
		switch twice, there := d.found[string(f.Digest)]; {
		case there:
			return twice, nil
		case d.err != nil:
			return false, fmt.Errorf("%s: read its content: %w", f.Path, d.err)
		default:
			return false, fmt.Errorf("%s: read its content: %w: no file in the payload has %s %x", f.Path, ErrDigest, f.Hash, f.Digest)
		}
	}
}

// readDoubleUses unpacks the payload until it has met the contents of all files that may be
// signed twice. A content is recognised by its digest, so names and hard links do not matter.
// If there is an error, the result is what was found before.
func (p *Package) readDoubleUses(ctx context.Context) (map[string]bool, error) {
	left, found := map[string]bool{}, map[string]bool{} // by digest
	for i, may := range mayDouble(p.files) {
		if f := &p.files[i]; may && f.Flags&fileGhost == 0 {
			left[string(f.Digest)] = true
		}
	}
	id, ok := p.hash().CryptoHash()
	if !ok {
		return nil, fmt.Errorf("this program cannot compute %s", p.hash())
	}
	sum, content := id.New(), newContentReader()
	return found, p.unpack(ctx, newFileCheck(p.files).sizes, func(r *cpio.Reader) (done bool, err error) {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if err := content.read(r, io.Discard); err != nil || !ima.AmbiguousSize(content.size) {
			return false, err
		}
		sum.Reset()
		sum.Write(content.start)
		if digest := string(sum.Sum(nil)); left[digest] {
			delete(left, digest)
			found[digest] = content.double()
		}
		return len(left) == 0, nil
	})
}

// contentReader reads the contents of files, one at a time.
type contentReader struct {
	buf   []byte
	size  int64
	start []byte // the whole content, if ima.AmbiguousSize accepts its size
}

// maxStart is more than the largest size in bytes that ima.AmbiguousSize accepts.
const maxStart = 128

func newContentReader() *contentReader {
	return &contentReader{buf: make([]byte, 64<<10), start: make([]byte, 0, maxStart)}
}

// read reads a content to its end, because the cpio reader would hold in memory whatever it
// has to skip.
func (c *contentReader) read(r io.Reader, w io.Writer) error {
	for c.size, c.start = 0, c.start[:0]; ; {
		n, err := r.Read(c.buf)
		_, _ = w.Write(c.buf[:n]) // hashes return no error
		c.start = append(c.start, c.buf[:min(n, maxStart-len(c.start))]...)
		c.size += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// double reports whether a signature of the content could be used twice.
func (c *contentReader) double() bool {
	return ima.AmbiguousSize(c.size) && (ima.MayBeFileID(c.start) || ima.MayBeEVMInput(c.size, c.start))
}
