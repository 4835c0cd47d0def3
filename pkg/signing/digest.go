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
	active []hash.Hash // for the content that is being read
	tail   []byte      // the last bytes of that content
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

// digest opens the entry and digests its content with all of ids, which must differ. It
// returns the number of bytes read.
func (d *digester) digest(ctx context.Context, e *Entry, ids []ima.HashID) (int64, error) {
	f, err := e.open(ctx)
	if err != nil || f == nil {
		return 0, err
	}
	n, err := d.sum(ctx, e, f, ids)
	return n, errors.Join(err, f.Close())
}

// sum reads the content once and adds its digests to the entry.
func (d *digester) sum(ctx context.Context, e *Entry, content io.Reader, ids []ima.HashID) (size int64, err error) {
	d.active = d.active[:0]
	for _, id := range ids {
		h, err := d.hash(id)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", e.Path, err)
		}
		d.active = append(d.active, h)
	}
	if size, err = d.read(ctx, content); err != nil {
		return size, err
	}
	e.doubleUse = ima.MayBeEVMInput(size, d.tail) || size == int64(len(d.tail)) && ima.MayBeFileID(d.tail)
	e.Digests = make([]Digest, len(ids))
	for i, id := range ids {
		e.Digests[i] = Digest{id, d.active[i].Sum(nil)}
	}
	return size, nil
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
			h.Write(d.buf[:n])
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
