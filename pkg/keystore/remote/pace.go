package remote

import (
	"sync"
	"time"

	"github.com/imasign/imasign-build/internal/protocol"
)

// A request should take between quick and long, so that its signatures are not lost with a
// server, and none waits long for a slow key.
const (
	firstSize = 64
	quick     = time.Second
	long      = 4 * time.Second
)

// pace chooses the number of digests in a request by how long earlier ones took. The service
// does not say how fast its key is. It is safe for concurrent use.
type pace struct {
	mu   sync.Mutex
	size int // of the next request
	most int // that the rules of the service allow, as far as is known
}

func newPace() *pace { return &pace{size: firstSize, most: protocol.MaxDigests} }

// limit returns how many digests the next request has at most.
func (p *pace) limit() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// took reports how long a request of n digests took.
func (p *pace) took(n int, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case d > long && n > 1 && n <= p.size:
		p.size = max(n/2, 1)
	case d < quick && n >= p.size:
		p.size = min(2*p.size, p.most)
	}
}

// tooMany reports that n digests are more than a server takes.
func (p *pace) tooMany(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = min(p.most, max(n/2, 1))
	p.size = min(p.size, p.most)
}
