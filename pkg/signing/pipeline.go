package signing

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/imasign/imasign-build/pkg/ima"
)

// window is how many entries are under way at once. It bounds memory, and it is
// how far the cores may run ahead of one huge file.
const window = 1024

// job is an entry on its way through the loop.
type job struct {
	Entry
	err    error
	status Status
	values map[string][]byte
	slot   *slot // the signature to come, for Signed
	found  found // by a verification
	bytes  int64 // content digested
	first  *job  // of the hard-link group, for its other names
	done   chan struct{}
}

func (j *job) decide(s Status, name string, value []byte) {
	if j.status = s; j.values == nil {
		j.values = make(map[string][]byte, 1)
	}
	j.values[name] = value
}

// adopt takes over what was decided for the first name of the same inode.
func (j *job) adopt() {
	if j.first == nil || j.Reason != "" {
		return
	}
	f := j.first
	j.Xattrs, j.Hash, j.Digest, j.Reason = f.Xattrs, f.Hash, f.Digest, f.Reason
	j.status, j.values, j.slot, j.found = f.status, f.values, f.slot, f.found
}

// worker works on one entry, on any goroutine; it reports in the job.
type worker func(ctx context.Context, d *digester, j *job)

// inOrder lists src, has n goroutines work on its entries and hands them to next
// in the order of the listing, on one goroutine.
func inOrder(ctx context.Context, n int, src Source, work worker, next func(*job) error) error {
	g, ctx := errgroup.WithContext(ctx)
	queue, todo := make(chan *job, window), make(chan *job, window)
	g.Go(func() error {
		defer close(queue)
		defer close(todo)
		return list(ctx, src, queue, todo)
	})
	for range n {
		g.Go(func() error {
			d := newDigester()
			for j := range todo {
				if ctx.Err() == nil {
					work(ctx, d, j)
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
			j.adopt()
			if err := next(j); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func list(ctx context.Context, src Source, queue, todo chan<- *job) error {
	index, groups := 0, map[string]*job{}
	for entry, err := range src.Entries(ctx) {
		if err != nil && entry.Path == "" {
			return err
		}
		j := &job{Entry: entry, err: err, done: make(chan struct{})}
		j.Index = index
		index++
		if j.Same != "" {
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
}

func newDigester() *digester {
	return &digester{buf: make([]byte, 256<<10), hashes: map[ima.HashID]hash.Hash{}}
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

// digest opens the entry and computes its digest with j.Hash.
func (j *job) digest(ctx context.Context, d *digester) error {
	content, err := j.Open(ctx, &j.Entry)
	if err != nil || content == nil {
		return err
	}
	return errors.Join(j.sum(ctx, d, content), content.Close())
}

func (j *job) sum(ctx context.Context, d *digester, content io.Reader) error {
	h, err := d.hash(j.Hash)
	if err != nil {
		return fmt.Errorf("%s: %w", j.Path, err)
	}
	for {
		n, err := content.Read(d.buf)
		h.Write(d.buf[:n])
		j.bytes += int64(n)
		if errors.Is(err, io.EOF) {
			j.Digest = h.Sum(nil)
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
