package signd

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// maxIDs is how many ids of requests are remembered. At 256 digests a request, they are enough for 100,000
// signatures a second.
const maxIDs = 1 << 18

// ids remembers the ids of requests until these are too old to be taken. Requests that are as old as
// one whose id was forgotten are refused, also if the clock is set back.
type ids struct {
	most, mostEach int

	mu        sync.Mutex
	seen      map[idHash]struct{}
	each      map[string]*used // by the requester's key
	swept     int64
	forgotten int64 // the latest end of a forgotten id, in seconds since 1970
}

// used are the ids of one requester.
type used struct {
	n         int
	seconds   map[int64][]idHash // by the second after which they can be forgotten
	forgotten int64              // as that of all, after a restart with more ids than are remembered
}

// idHash is the start of a SHA-256 over a requester's key and an id. Requesters cannot use up
// each other's ids.
type idHash [16]byte

func hashID(requester, id []byte) idHash {
	sum := sha256.Sum256(append(append(make([]byte, 0, 64), requester...), id...))
	return idHash(sum[:])
}

func newIDs(most, mostEach int) *ids {
	return &ids{most: most, mostEach: mostEach, seen: map[idHash]struct{}{}, each: map[string]*used{}}
}

// of returns the ids of a requester. The caller holds m.mu.
func (m *ids) of(requester []byte) *used {
	one := m.each[string(requester)]
	if one == nil {
		one = &used{seconds: map[int64][]idHash{}}
		m.each[string(requester)] = one
	}
	return one
}

// add remembers the id of a request that is taken until a time. It refuses an id that is remembered, one too
// many, and one that may have been forgotten; wait is when to ask again.
func (m *ids) add(requester, id []byte, until, now time.Time) (refusal *protocol.RefusedError, wait time.Duration) {
	h := hashID(requester, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now.Unix())
	one := m.of(requester)
	if behind := max(m.forgotten, one.forgotten) - until.Unix(); behind >= 0 {
		wait = time.Duration(behind+1) * time.Second
		return protocol.Refuse(protocol.Busy, "the service cannot tell whether it had this request before, because it was restarted or its clock was set back: make a new request in %s", wait), wait
	}
	if _, seen := m.seen[h]; seen {
		return protocol.Refuse(protocol.Replayed, "the id of the request was used before: make a new request"), 0
	}
	if len(m.seen) >= m.most || one.n >= m.mostEach {
		return protocol.Refuse(protocol.Busy, "too many requests in the last minutes: ask for more signatures at a time"), time.Second
	}
	m.keep(one, h, until.Unix())
	return nil, 0
}

func (m *ids) keep(one *used, h idHash, until int64) {
	m.seen[h] = struct{}{}
	one.seconds[until] = append(one.seconds[until], h)
	one.n++
}

// remember is add for a request that was taken before a restart, and whose id must be known until some time at
// the latest. If there are too many, it forgets those of the requester that end first.
func (m *ids) remember(requester, id []byte, until, now time.Time) {
	h, end := hashID(requester, id), until.Unix()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now.Unix())
	if _, seen := m.seen[h]; seen || end < now.Unix() {
		return
	}
	one := m.of(requester)
	for one.n > 0 && (len(m.seen) >= m.most || one.n >= m.mostEach) {
		m.forget(one, one.first())
	}
	if len(m.seen) >= m.most || end <= one.forgotten {
		one.forgotten = max(one.forgotten, end)
		return
	}
	m.keep(one, h, end)
}

// first returns the second after which the first ids can be forgotten.
func (u *used) first() int64 {
	var first int64
	for at := range u.seconds {
		if first == 0 || at < first {
			first = at
		}
	}
	return first
}

// forget drops the ids of a requester with an end. The caller holds m.mu.
func (m *ids) forget(one *used, end int64) {
	for _, h := range one.seconds[end] {
		delete(m.seen, h)
	}
	one.n -= len(one.seconds[end])
	one.forgotten = max(one.forgotten, end)
	delete(one.seconds, end)
}

// sweep forgets the ids of requests that are too old.
func (m *ids) sweep(now int64) {
	if m.swept == now {
		return
	}
	m.swept = now
	for requester, one := range m.each {
		for end := range one.seconds {
			if end < now {
				m.forget(one, end)
			}
		}
		if one.forgotten < now { // from now on it only matters if the clock is set back
			m.forgotten, one.forgotten = max(m.forgotten, one.forgotten), 0
		}
		if one.n == 0 && one.forgotten == 0 {
			delete(m.each, requester)
		}
	}
}

// count returns how many ids are remembered.
func (m *ids) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}
