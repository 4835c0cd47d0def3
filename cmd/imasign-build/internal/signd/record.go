package signd

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
)

const (
	// maxEvents is how many records of refusals a requester causes in a minute at most, and how many lines there
	// are about failures of one kind. The others are counted in one, so that nobody fills a disk with them.
	maxEvents = 10
	// maxRefusedDetails is the size of the largest details of a refusal. Larger ones are left out.
	maxRefusedDetails = 16 << 10
	flushEvery        = 10 * time.Second
)

// recorder writes the records of requests.
type recorder struct {
	server *Server

	mu   sync.Mutex
	each map[string]*events // by what they are
}

// events are those of one kind in one minute: refusals of a requester, or failures of the log.
type events struct {
	what   string // in the plural
	minute time.Time
	n      int              // that have lines and, if they are refusals of a known requester, records
	more   uint64           // that have none yet
	last   *protocol.Record // of the last one that has none; nil for what gets no record
	why    string
}

func newRecorder(s *Server) *recorder { return &recorder{server: s, each: map[string]*events{}} }

// note writes a line about something that may happen often, or counts it.
func (r *recorder) note(what, line string) {
	own, before := r.take(what, nil, line)
	if own {
		r.server.note(line)
	}
	r.count(before)
}

// recordSpace returns how many bytes the log needs for a granted request at most.
func recordSpace(r *protocol.Request) int64 {
	n := int64(len(r.Split()))
	space := 16<<10 + int64(len(r.Digests)) + n*(sha256.Size+16)
	for _, o := range r.Origins {
		space += int64(len(o.Container) + len(o.Name) + 16)
	}
	for _, c := range r.Claims {
		space += int64(len(c.Path) + len(c.IMA) + 16)
	}
	return space
}

// granted writes the record of a batch, and returns the receipt once it is on the disk.
func (r *recorder) granted(ctx context.Context, j *job, grant *rules.Grant, leaves []tlog.Hash) (*protocol.Receipt, error) {
	record, details := describe(j)
	record.Rule, record.Manifests = grant.Rule, grant.Manifests
	root := protocol.Root(leaves)
	record.Root = root[:]
	details.Leaves = make([]byte, 0, len(leaves)*tlog.HashSize)
	for _, leaf := range leaves {
		details.Leaves = append(details.Leaves, leaf[:]...)
	}
	return r.write(ctx, record, details)
}

// describe returns what is in every record of a known requester's request.
func describe(j *job) (*protocol.Record, *protocol.Details) {
	q := j.request
	record := &protocol.Record{
		Version: protocol.Version, Time: time.Now().Unix(), Requester: j.requester.Name, RequesterKey: q.Requester, ID: q.ID,
		Key: q.Key, Type: q.Type, Signature: q.Signature, Hash: q.Hash, Digests: uint64(len(q.Split())),
	}
	if j.key != nil {
		record.SPKI = j.key.spki[:]
	}
	details := &protocol.Details{Version: protocol.Version, Digests: q.Digests, Claims: q.Claims, Origins: slices.Clone(q.Origins)}
	for i := range details.Origins {
		details.Origins[i].Header, details.Origins[i].Signature = nil, nil
	}
	return record, details
}

func (r *recorder) write(ctx context.Context, record *protocol.Record, details *protocol.Details) (*protocol.Receipt, error) {
	more, err := details.Encode()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(more)
	record.Details = sum[:]
	data, err := record.Encode()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	proof, err := r.server.log.Append(context.WithoutCancel(ctx), data, more) // what was signed is recorded, even if the client is gone
	r.server.metrics.synced(time.Since(start), err)
	if err != nil {
		return nil, err
	}
	return &protocol.Receipt{Record: data, Proof: proof}, nil
}

// refused writes a line and a record about a refusal, or counts it. j is nil, or its requester
// unknown, if anybody can cause the refusal; then there is no record.
func (r *recorder) refused(ctx context.Context, j *job, refusal *protocol.RefusedError) {
	if j == nil || j.requester == nil {
		r.note("refusals of unknown requesters", refusal.Error())
		return
	}
	record, details := describe(j)
	record.Refusal = refusal.Code
	own, before := r.take("refusals of requester "+record.Requester, record, refusal.Error())
	r.sum(ctx, before)
	if !own {
		return
	}
	r.server.note(fmt.Sprintf("%v (requester %s, key %s, %d digests)", refusal, record.Requester, record.Key, record.Digests))
	if more, err := details.Encode(); err != nil || len(more) > maxRefusedDetails {
		details = &protocol.Details{Version: protocol.Version}
	}
	r.store(ctx, record, details)
}

// store writes the record of a refusal. Nothing depends on it, so a failure is only noted.
func (r *recorder) store(ctx context.Context, record *protocol.Record, details *protocol.Details) {
	release, err := r.server.log.Reserve(maxRefusedDetails + 16<<10)
	if err == nil {
		defer release()
		_, err = r.write(ctx, record, details)
	}
	if err != nil {
		r.server.metrics.logErrors.Add(1)
		r.note("records of refusals that the log lacks", fmt.Sprintf("the log lacks a refusal of requester %s: %v", record.Requester, err))
	}
}

// take reports whether an event gets a line, and perhaps a record, of its own. Otherwise it counts it. It
// returns the events of a minute that has ended, or nil.
func (r *recorder) take(what string, record *protocol.Record, why string) (own bool, before *events) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.each[what]
	if one == nil || now.Sub(one.minute) >= time.Minute {
		before = one
		one = &events{what: what, minute: now}
		r.each[what] = one
	}
	own = one.n < maxEvents
	if own {
		one.n++
	} else {
		one.more++
		one.last, one.why = record, why
	}
	return own, before
}

// flushAll writes, until ctx ends, the records that count refusals.
func (r *recorder) flushAll(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			r.flush(ctx, now.Add(-time.Minute))
		case <-ctx.Done():
			return
		}
	}
}

// flush writes the counts of minutes that began before a time, and all if it is zero.
func (r *recorder) flush(ctx context.Context, before time.Time) {
	r.mu.Lock()
	var old []*events
	for what, one := range r.each {
		if before.IsZero() || one.minute.Before(before) {
			old = append(old, one)
			delete(r.each, what)
		}
	}
	r.mu.Unlock()
	for _, one := range old {
		r.sum(ctx, one)
	}
}

// count writes one line for the events that have none. It reports whether there are some.
func (r *recorder) count(one *events) bool {
	if one == nil || one.more == 0 {
		return false
	}
	r.server.note(fmt.Sprintf("%d more %s; the last one: %s", one.more, one.what, one.why))
	return true
}

// sum is count, and writes one record for refusals. It is that of the last one.
func (r *recorder) sum(ctx context.Context, one *events) {
	if !r.count(one) || one.last == nil {
		return
	}
	one.last.More = one.more - 1
	r.store(ctx, one.last, &protocol.Details{Version: protocol.Version})
}
