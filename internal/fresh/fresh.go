// Package fresh keeps values that may be stale for a bounded time: what is read
// on every request and changes seldom.
//
// A change made in this process is felt at once (Forget), one made elsewhere when
// the value's time is over. It is no general cache: it forgets everything at once.
package fresh

import (
	"sync"
	"time"
)

// Cache holds values by key. Make it with New.
type Cache[K comparable, V any] struct {
	life time.Duration
	most int
	now  func() time.Time

	mu     sync.RWMutex
	epoch  uint64
	values map[K]entry[V]
}

type entry[V any] struct {
	value V
	until time.Time
}

// New makes a cache of values that live so long, at most so many of them.
func New[K comparable, V any](life time.Duration, most int, now func() time.Time) *Cache[K, V] {
	return &Cache[K, V]{life: life, most: most, now: now, values: map[K]entry[V]{}}
}

// Get returns the value of a key, loading it when it is missing or too old. Errors
// are not kept. A value loaded while Forget ran is returned and not kept.
func (c *Cache[K, V]) Get(k K, load func() (V, error)) (V, error) {
	c.mu.RLock()
	e, ok := c.values[k]
	epoch := c.epoch
	c.mu.RUnlock()
	now := c.now()
	if ok && now.Before(e.until) {
		return e.value, nil
	}
	v, err := load()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		if len(c.values) >= c.most {
			clear(c.values)
		}
		c.values[k] = entry[V]{v, now.Add(c.life)}
	}
	return v, nil
}

// Forget drops everything.
func (c *Cache[K, V]) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.values)
}
