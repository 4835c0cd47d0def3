package libcrypto

import (
	"crypto"
	"fmt"
	"sync"

	"github.com/imasign/imasign-build/pkg/ima"
)

// batchSize is how many digests one call signs. Long calls into C make Go's scheduler
// look for other goroutines to run. This costs 5% with 32 digests a call and 2% with
// 128 (two cores, RSA-2048). With 128, a cancelled context is noticed after at most
// 0.03 s, or 0.5 s for RSA-4096.
const batchSize = 128

// pool lends workers, and waits until all are returned before it frees the key.
type pool struct {
	rsa     bool
	closing sync.RWMutex // held for reading while a worker is lent
	key     *key         // nil once closed

	mu   sync.Mutex
	idle map[crypto.Hash][]*worker
}

func newPool(k *key, rsa bool) *pool {
	return &pool{rsa: rsa, key: k, idle: map[crypto.Hash][]*worker{}}
}

// with lends a worker to work.
func (p *pool) with(h crypto.Hash, work func(*worker) error) error {
	p.closing.RLock()
	defer p.closing.RUnlock()
	if p.key == nil {
		return ErrClosed
	}
	w, err := p.take(h)
	if err != nil {
		return err
	}
	defer p.give(h, w)
	return work(w)
}

func (p *pool) take(h crypto.Hash) (*worker, error) {
	name, err := nameOf(h)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if idle := p.idle[h]; len(idle) > 0 {
		w := idle[len(idle)-1]
		p.idle[h] = idle[:len(idle)-1]
		return w, nil
	}
	return p.key.newWorker(name, p.rsa)
}

func (p *pool) give(h crypto.Hash, w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[h] = append(p.idle[h], w)
}

// Close waits for running calls and frees the key, which libcrypto overwrites. Later
// calls fail with ErrClosed.
func (p *pool) Close() error {
	p.closing.Lock()
	defer p.closing.Unlock()
	if p.key == nil {
		return nil
	}
	for _, idle := range p.idle {
		for _, w := range idle {
			w.free()
		}
	}
	p.key.free()
	p.key, p.idle = nil, nil
	return nil
}

// checkDigests refuses digests of the wrong size, and hashes that are not signed.
func checkDigests(h crypto.Hash, digests [][]byte) error {
	_, err := nameOf(h)
	if err == nil {
		err = ima.CheckDigests(h, digests)
	}
	if err != nil {
		return fmt.Errorf("libcrypto: %w", err)
	}
	return nil
}

// nameOf returns OpenSSL's name of a hash. Hashes that are not signed are an error.
func nameOf(h crypto.Hash) (string, error) {
	switch h {
	case crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return fmt.Sprintf("SHA%d", 8*h.Size()), nil
	case crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512:
		return fmt.Sprintf("SHA3-%d", 8*h.Size()), nil
	}
	return "", fmt.Errorf("%w: %s", ima.ErrUnsupportedHash, h)
}
