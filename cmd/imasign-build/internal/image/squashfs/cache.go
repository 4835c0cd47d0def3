package squashfs

import (
	"container/list"
	"sync"
)

// cache keeps the values that were used last, by position or index. Goroutines that ask
// for the same value at the same time wait for one of them to load it.
type cache[V any] struct {
	max     int
	mu      sync.Mutex
	entries map[int64]*list.Element // of *cached[V]
	order   *list.List              // the last used first
}

type cached[V any] struct {
	key   int64
	load  sync.Once
	value V
	err   error
}

func newCache[V any](entries int) *cache[V] {
	return &cache[V]{max: entries, entries: map[int64]*list.Element{}, order: list.New()}
}

// get returns the value of a key. Unless it is cached, it comes from load.
func (c *cache[V]) get(key int64, load func() (V, error)) (V, error) {
	e := c.entry(key)
	e.load.Do(func() { e.value, e.err = load() })
	return e.value, e.err
}

func (c *cache[V]) entry(key int64) *cached[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.entries[key]; at != nil {
		c.order.MoveToFront(at)
		return at.Value.(*cached[V])
	}
	if c.order.Len() >= c.max {
		oldest := c.order.Remove(c.order.Back()).(*cached[V])
		delete(c.entries, oldest.key)
	}
	e := &cached[V]{key: key}
	c.entries[key] = c.order.PushFront(e)
	return e
}
