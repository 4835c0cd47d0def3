package signing

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/ima"
)

// window is the number of entries in progress at the same time. It limits memory, and how
// far the other cores may get ahead of one huge file.
const window = 1024

// visit is an entry in progress, with its result.
type visit[R any] struct {
	Entry
	nth    int       // number among the entries of its path, if there is a manifest
	leader *visit[R] // for a further name of a hard link: the name that stands for the inode
	err    error
	bytes  int64 // bytes of content digested
	result R
}

// adopt copies the leader's findings to a further name of the same inode.
func (v *visit[R]) adopt() {
	if v.Reason != "" {
		return
	}
	l := v.leader
	if own := v.Xattrs[ima.XattrIMA]; len(own) > 0 && !isDigest(own) && !bytes.Equal(own, l.Xattrs[ima.XattrIMA]) {
		v.Second = map[string][]byte{ima.XattrIMA: own} // the leader's value replaces it
	}
	v.Same, v.HashOnly, v.Verity = l.Path, l.HashOnly, l.Verity
	v.Xattrs, v.Digests, v.Reason, v.doubleUse, v.result = l.Xattrs, l.Digests, l.Reason, l.doubleUse, l.result
}

// round is one pass over a Source: its functions process each entry.
type round[R any] struct {
	jobs    int
	observe Observer
	targets bool // read the targets of symbolic links, for a manifest
	// admit, unless nil, is called for each entry as it is listed, in order. It may set a
	// Reason.
	admit func(*visit[R])
	// work is called on any goroutine for each entry without an error, a Reason or a leader.
	work func(ctx context.Context, d *digester, v *visit[R])
	// linked, unless nil, is called in order for the further names of a hard link, after
	// the work on their leader.
	linked func(*visit[R])
	// failed, unless nil, is called on any goroutine as soon as an entry fails.
	failed func()
	// take is called for all entries in order, failed ones too.
	take func(*visit[R]) error
}

// run visits the entries of src. If the leader of a hard link failed, its further names
// are left out, so that the failure is reported once.
func (r round[R]) run(ctx context.Context, src Source) error {
	worker := func() func(context.Context, *visit[R]) *visit[R] {
		d := newDigester()
		return func(ctx context.Context, v *visit[R]) *visit[R] {
			if v.err == nil && v.Readlink != nil && r.targets {
				v.Target, v.err = v.Readlink()
			}
			if v.err == nil && v.Reason == "" && v.leader == nil {
				r.work(ctx, d, v)
			}
			if v.err != nil && r.failed != nil {
				r.failed()
			}
			return v
		}
	}
	return pipeline.Ordered(ctx, r.jobs, window, r.list(ctx, src), worker, func(v *visit[R]) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if v.leader != nil {
			if v.leader.err != nil {
				return nil //nolint:nilerr // reported already
			}
			if v.adopt(); r.linked != nil && v.Reason == "" {
				r.linked(v)
			}
		}
		return r.take(v)
	})
}

// names are the names of a hard-linked inode.
type names[R any] struct {
	leader *visit[R]
	unseen uint64 // number of names that were not listed or not selected yet
}

func (r round[R]) list(ctx context.Context, src Source) iter.Seq2[*visit[R], error] {
	return func(yield func(*visit[R], error) bool) {
		index, groups := 0, map[string]*names[R]{}
		for entry, err := range src.Entries(ctx) {
			if err != nil && entry.Path == "" {
				yield(nil, err)
				return
			}
			v := &visit[R]{Entry: entry, err: err}
			v.Index = index
			index++
			if err == nil && r.admit != nil {
				r.admit(v)
			}
			if v.err == nil && v.Reason == "" && v.Group != "" {
				v.elect(groups)
			}
			if !yield(v, nil) {
				return
			}
		}
		if n := len(groups); n > 0 && ctx.Err() == nil {
			r.warnOfLinks(groups)
		}
	}
}

// elect sets the leader of the entry's inode, which is the first selected name.
func (v *visit[R]) elect(groups map[string]*names[R]) {
	known := groups[v.Group]
	if known == nil {
		known = &names[R]{leader: v, unseen: v.Links}
		groups[v.Group] = known
	} else {
		v.leader = known.leader
	}
	if known.unseen--; known.unseen == 0 { // this was the last name
		delete(groups, v.Group)
	}
}

func (r round[R]) warnOfLinks(groups map[string]*names[R]) {
	outside := 0
	for _, known := range groups {
		if known.leader.Links > 0 {
			outside++
		}
	}
	if outside > 0 {
		r.observe.Warn("", fmt.Sprintf("%d files have further hard links outside the selection or the tree: these names share the signature", outside))
	}
}
