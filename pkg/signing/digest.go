package signing

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/imasign/imasign-build/pkg/ima"
)

// digester has the buffer and hash states of one goroutine.
type digester struct {
	buf    []byte
	hashes map[ima.HashID]hash.Hash
	verity verityDigest
	active []summer // for the content that is being read
	tail   []byte   // the last bytes of that content
}

// summer computes a digest of what is written to it.
type summer interface {
	io.Writer
	Sum(b []byte) []byte
}

func newDigester() *digester {
	return &digester{hashes: map[ima.HashID]hash.Hash{}}
}

func (d *digester) hash(id ima.HashID) (hash.Hash, error) {
	if h := d.hashes[id]; h != nil {
		h.Reset()
		return h, nil
	}
	if !computable(id) {
		return nil, fmt.Errorf("%s: %w: this program cannot compute it", id, ima.ErrUnknownHash)
	}
	h, _ := id.CryptoHash()
	d.hashes[id] = h.New()
	return d.hashes[id], nil
}

func computable(id ima.HashID) bool {
	h, ok := id.CryptoHash()
	return ok && h.Available()
}

// open opens the entry's content and stores the xattrs of the open file in the entry. If
// the content gives a Reason, open stores that and returns neither a file nor an error.
func (e *Entry) open(ctx context.Context) (*File, error) {
	if e.Open == nil {
		return nil, fmt.Errorf("%s: the container gives neither its content nor its digest", e.Path)
	}
	f, err := e.Open(ctx)
	var not Unselected
	switch {
	case errors.As(err, &not):
		e.Reason = not.Reason
		return nil, nil
	case err != nil:
		return nil, err
	case f == nil:
		return nil, fmt.Errorf("%s: the container gives neither its content nor a reason", e.Path)
	}
	if f.Xattrs != nil {
		e.Xattrs = f.Xattrs
	}
	return f, nil
}

// digest opens the entry and computes its digests by hashes, which must differ. It returns
// the number of bytes read.
func (d *digester) digest(ctx context.Context, e *Entry, hashes []ima.HashID) (int64, error) {
	f, err := e.open(ctx)
	if err != nil || f == nil {
		return 0, err
	}
	n, err := d.sum(ctx, e, f, e.wanted(hashes))
	return n, errors.Join(err, f.Close())
}

// sum reads the content once and stores the wanted digests in the entry. They must differ,
// and at most one of them may be an fs-verity digest.
func (d *digester) sum(ctx context.Context, e *Entry, content io.Reader, wanted []Digest) (size int64, err error) {
	d.active = d.active[:0]
	for _, w := range wanted {
		h, err := d.summer(w)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", e.Path, err)
		}
		d.active = append(d.active, h)
	}
	if size, err = d.read(ctx, content); err != nil {
		return size, err
	}
	e.doubleUse = ima.MayBeEVMInput(size, d.tail) || size == int64(len(d.tail)) && ima.MayBeFileID(d.tail)
	for i := range wanted {
		wanted[i].Sum = d.active[i].Sum(nil)
	}
	e.Digests = wanted
	return size, nil
}

func (d *digester) summer(w Digest) (summer, error) {
	if w.Verity != nil {
		return d.verity.reset(w.Hash, w.Verity)
	}
	return d.hash(w.Hash)
}

// tailSize is the size in bytes of the largest content that ima.MayBeFileID accepts. It is
// more than ima.MayBeEVMInput needs.
const tailSize = 2 + 64

// keep stores the last bytes of the content, of which part is the next part.
func (d *digester) keep(part []byte) {
	if len(part) >= tailSize {
		d.tail = append(d.tail[:0], part[len(part)-tailSize:]...)
		return
	}
	d.tail = append(d.tail, part...)
	if n := len(d.tail); n > tailSize {
		d.tail = d.tail[:copy(d.tail, d.tail[n-tailSize:])]
	}
}

func (d *digester) read(ctx context.Context, content io.Reader) (size int64, err error) {
	if d.buf == nil { // not needed for containers that state their digests
		d.buf = make([]byte, 256<<10)
	}
	d.tail = d.tail[:0]
	for {
		n, err := content.Read(d.buf)
		for _, h := range d.active {
			_, _ = h.Write(d.buf[:n]) // which never fails
		}
		d.keep(d.buf[:n])
		size += int64(n)
		switch {
		case err == io.EOF: // a wrapped one is a failure, not the end
			return size, nil
		case err != nil:
			return size, err
		case ctx.Err() != nil:
			return size, context.Cause(ctx)
		}
	}
}
