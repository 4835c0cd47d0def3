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

// ids remembers the ids of requests until these are too old to be taken. It forgets none early.
type ids struct {
	most, mostEach int

	mu      sync.Mutex
	seen    map[idHash]struct{}
	seconds map[int64][]idHash // by the second after which they can be forgotten
	each    map[string]int     // by the requester's key
	owners  map[int64]map[string]int
	swept   int64
}

// idHash is the start of a SHA-256 over a requester's key and an id. Requesters cannot use up
// each other's ids.
type idHash [16]byte

func newIDs(most, mostEach int) *ids {
	return &ids{most: most, mostEach: mostEach, seen: map[idHash]struct{}{}, seconds: map[int64][]idHash{}, each: map[string]int{}, owners: map[int64]map[string]int{}}
}

// add remembers an id until a time. It refuses an id that is remembered, or one too many.
func (m *ids) add(requester, id []byte, until, now time.Time) *protocol.RefusedError {
	sum := sha256.Sum256(append(append(make([]byte, 0, 64), requester...), id...))
	h := idHash(sum[:])
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now.Unix())
	if _, seen := m.seen[h]; seen {
		return protocol.Refuse(protocol.Replayed, "the id of the request was used before: make a new request")
	}
	owner := string(requester)
	if len(m.seen) >= m.most || m.each[owner] >= m.mostEach {
		return protocol.Refuse(protocol.Busy, "too many requests in the last minutes: ask for more signatures at a time")
	}
	at := until.Unix()
	m.seen[h] = struct{}{}
	m.seconds[at] = append(m.seconds[at], h)
	m.each[owner]++
	if m.owners[at] == nil {
		m.owners[at] = map[string]int{}
	}
	m.owners[at][owner]++
	return nil
}

// sweep forgets the ids of requests that are too old.
func (m *ids) sweep(now int64) {
	if m.swept == now {
		return
	}
	m.swept = now
	for at, list := range m.seconds {
		if at >= now {
			continue
		}
		for _, h := range list {
			delete(m.seen, h)
		}
		for owner, n := range m.owners[at] {
			if m.each[owner] -= n; m.each[owner] == 0 {
				delete(m.each, owner)
			}
		}
		delete(m.seconds, at)
		delete(m.owners, at)
	}
}

// count returns how many ids are remembered.
func (m *ids) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}
