package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// window is how many entries are under way at once. It bounds memory, and it is
// how far the cores may run ahead of one huge file.
const window = 1024

// job is an entry on its way through the loop.
type job struct {
	Entry
	err      error
	status   Status
	replaced Replaced
	values   map[string][]byte
	slot     *slot // the signature to come, for Signed
	stated   bool  // Digest is the container's, for a verification
	sums     []sum // further digests of the content
	found    found // by a verification
	bytes    int64 // content digested
	nth      int   // of its path's entries, where a manifest is at hand
	line     manifest.Line
	listed   bool           // line is there
	first    *job           // of the hard-link group, for its other names
	key      *ima.PublicKey // that made the value, where a manifest gives it
	done     chan struct{}
}

// sum is one digest of an entry's content.
type sum struct {
	hash   ima.HashID
	digest []byte
}

// digestOf returns the digest made with, or stated over, h; nil if there is none.
func (j *job) digestOf(h ima.HashID) []byte {
	if h == j.Hash {
		return j.Digest
	}
	for _, s := range j.sums {
		if s.hash == h {
			return s.digest
		}
	}
	return nil
}

func (j *job) decide(s Status, name string, value []byte) {
	if j.status = s; j.values == nil {
		j.values = make(map[string][]byte, 1)
	}
	j.values[name] = value
}

// adopt takes over what was decided for the first name of the same inode.
func (j *job) adopt() {
	if j.Reason != "" {
		return
	}
	f := j.first
	if own := j.Xattrs[ima.XattrIMA]; len(own) > 0 && !isDigest(own) && !bytes.Equal(own, f.Xattrs[ima.XattrIMA]) {
		j.Second = own // that of the inode takes its place
	}
	j.key = f.key
	j.Xattrs, j.Hash, j.Digest, j.Reason = f.Xattrs, f.Hash, f.Digest, f.Reason
	j.status, j.replaced, j.values, j.slot, j.stated, j.sums, j.found = f.status, f.replaced, f.values, f.slot, f.stated, f.sums, f.found
}

// worker is what is done with entries; it reports in the jobs. listed (may be nil)
// is called as they are listed, in order; work on any goroutine, for what is to be
// opened or judged; linked (may be nil) for further names of a hard link, after
// their first one's work, in order.
type worker struct {
	listed func(j *job)
	work   func(ctx context.Context, d *digester, j *job)
	linked func(j *job)
}

// inOrder lists src, has n goroutines work on its entries and hands them to next
// in the order of the listing, on one goroutine. Further names of a hard link whose
// first name failed are left out: one failure is told once. When ctx is cancelled
// its cause is the error, whatever a source makes of it.
func inOrder(ctx context.Context, n int, src Source, w worker, next func(*job) error) error {
	err := run(ctx, n, src, w, next)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func run(ctx context.Context, n int, src Source, w worker, next func(*job) error) error {
	g, ctx := errgroup.WithContext(ctx)
	queue, todo := make(chan *job, window), make(chan *job, window)
	g.Go(func() error {
		defer close(queue)
		defer close(todo)
		return list(ctx, src, w, queue, todo)
	})
	for range n {
		g.Go(func() error {
			d := newDigester()
			for j := range todo {
				if ctx.Err() == nil {
					w.work(ctx, d, j)
				}
				close(j.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range queue {
			<-j.done
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if j.first != nil {
				if j.first.err != nil {
					continue
				}
				if j.adopt(); w.linked != nil && j.Reason == "" {
					w.linked(j)
				}
			}
			if err := next(j); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func list(ctx context.Context, src Source, w worker, queue, todo chan<- *job) error {
	index, groups := 0, map[string]*job{}
	for entry, err := range src.Entries(ctx) {
		if err != nil && entry.Path == "" {
			return err
		}
		j := &job{Entry: entry, err: err, done: make(chan struct{})}
		j.Index = index
		index++
		if err == nil && w.listed != nil {
			w.listed(j)
		}
		if j.Same != "" && j.err == nil && j.Reason == "" {
			if j.first = groups[j.Same]; j.first == nil {
				groups[j.Same] = j
			}
		}
		work := j.err == nil && j.Reason == "" && j.first == nil
		if !work {
			close(j.done)
		}
		select {
		case queue <- j:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if work {
			todo <- j // as large as queue: never blocks
		}
	}
	return nil
}

// digester is one goroutine's buffer and hash states.
type digester struct {
	buf    []byte
	hashes map[ima.HashID]hash.Hash
	active []hash.Hash // those of the content being read
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
		return nil, fmt.Errorf("%s: %w: this program can name it, but not compute it", id, ima.ErrUnknownHash)
	}
	h, _ := id.CryptoHash()
	d.hashes[id] = h.New()
	return d.hashes[id], nil
}

func computable(id ima.HashID) bool {
	h, ok := id.CryptoHash()
	return ok && h.Available()
}

// open opens the content. It returns none without an error where Open found a
// Reason.
func (j *job) open(ctx context.Context) (io.ReadCloser, error) {
	if j.Open == nil {
		return nil, fmt.Errorf("%s: the container gives neither its content nor its digest", j.Path)
	}
	content, err := j.Open(ctx, &j.Entry)
	switch {
	case content == nil && err == nil && j.Reason == "":
		return nil, fmt.Errorf("%s: the container gives neither its content nor a reason", j.Path)
	case content != nil && (err != nil || j.Reason != ""):
		return nil, errors.Join(err, content.Close())
	}
	return content, err
}

// digest opens the entry and computes its digest with j.Hash.
func (j *job) digest(ctx context.Context, d *digester) error {
	content, err := j.open(ctx)
	if err != nil || content == nil {
		return err
	}
	return errors.Join(j.sum(ctx, d, content, j.Hash), content.Close())
}

// sum reads the content once and digests it with every one of ids, which differ:
// the first gives Hash and Digest.
func (j *job) sum(ctx context.Context, d *digester, content io.Reader, ids ...ima.HashID) error {
	d.active = d.active[:0]
	for _, id := range ids {
		h, err := d.hash(id)
		if err != nil {
			return fmt.Errorf("%s: %w", j.Path, err)
		}
		d.active = append(d.active, h)
	}
	if d.buf == nil { // containers that state their digests need none
		d.buf = make([]byte, 256<<10)
	}
	for {
		n, err := content.Read(d.buf)
		for _, h := range d.active {
			h.Write(d.buf[:n])
		}
		j.bytes += int64(n)
		if err == io.EOF { // a wrapped one is a failure, not the end
			break
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	j.Hash, j.Digest = ids[0], d.active[0].Sum(nil)
	for i := 1; i < len(ids); i++ {
		j.sums = append(j.sums, sum{ids[i], d.active[i].Sum(nil)})
	}
	return nil
}
