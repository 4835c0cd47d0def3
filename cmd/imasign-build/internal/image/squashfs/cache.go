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
	key    int64
	loaded chan struct{} // closed when value and err are there
	value  V
	err    error
}

func newCache[V any](entries int) *cache[V] {
	return &cache[V]{max: entries, entries: map[int64]*list.Element{}, order: list.New()}
}

// get returns the value of a key. Unless it is cached, it comes from load. If another
// goroutine is loading it, get calls meanwhile, unless that is nil, before it waits.
func (c *cache[V]) get(key int64, load func() (V, error), meanwhile func()) (V, error) {
	e, fresh := c.entry(key)
	if fresh {
		defer close(e.loaded)
		e.value, e.err = load()
		return e.value, e.err
	}
	select {
	case <-e.loaded:
	default:
		if meanwhile != nil {
			meanwhile()
		}
		<-e.loaded
	}
	return e.value, e.err
}

// entry returns the entry of a key. If it is fresh, the caller loads it.
func (c *cache[V]) entry(key int64) (e *cached[V], fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.entries[key]; at != nil {
		c.order.MoveToFront(at)
		return at.Value.(*cached[V]), false
	}
	if c.order.Len() >= c.max {
		oldest := c.order.Remove(c.order.Back()).(*cached[V])
		delete(c.entries, oldest.key)
	}
	e = &cached[V]{key: key, loaded: make(chan struct{})}
	c.entries[key] = c.order.PushFront(e)
	return e, true
}
