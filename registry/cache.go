package registry

import (
	"hash/maphash"
	"sync"

	"github.com/berth-registry/berth/arn"
)

// cache keeps what hot reads ask for, where this process is the only writer
// (sqldb.SingleProcess); with several nodes it is off. It is exact: a change
// drops what it touched after its commit and before it is acknowledged, and a
// read that began before that cannot put the old value back, because it was
// given a ticket that the drop made invalid.
type cache struct {
	on     bool
	seed   maphash.Seed
	mu     sync.RWMutex
	values map[cacheKey]any
	bytes  int
	drops  [256]uint64 // per hash of the key
	any    uint64      // of any key
	all    uint64
}

// cacheKey names a value: what 'i'mage by reference, 'l'ayer by digest, account
// 's'etting by name or 'h'ome of uploads.
type cacheKey struct {
	place arn.Place
	repo  string
	kind  byte
	ref   string
}

// ticket proves that nothing was dropped between a read's begin and its end.
type ticket struct{ drop, any, all uint64 }

const (
	// cacheBytes bounds the cache; cacheEntry is the most that one value may take.
	cacheBytes = 6 << 20
	cacheEntry = 40 << 10
	// cacheOverhead is what a value takes beside its bytes, roughly.
	cacheOverhead = 512
)

func newCache(on bool) *cache {
	return &cache{on: on, seed: maphash.MakeSeed(), values: map[cacheKey]any{}}
}

func (c *cache) slot(k cacheKey) *uint64 {
	return &c.drops[maphash.Comparable(c.seed, k)%uint64(len(c.drops))]
}

// get returns a value, or a ticket for storing it.
func (c *cache) get(k cacheKey) (any, ticket) {
	if !c.on {
		return nil, ticket{}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.values[k], ticket{*c.slot(k), c.any, c.all}
}

// put stores what was read since the ticket was given.
func (c *cache) put(k cacheKey, t ticket, v any, size int) {
	c.store(k, v, size, func() bool { return t.drop == *c.slot(k) && t.all == c.all })
}

// putAlso stores what a read for another key came upon, unless anything was dropped since.
func (c *cache) putAlso(k cacheKey, t ticket, v any, size int) bool {
	return c.store(k, v, size, func() bool { return t.any == c.any && t.all == c.all })
}

// store keeps a value that is still valid, and reports whether it is there then.
func (c *cache) store(k cacheKey, v any, size int, valid func() bool) bool {
	if size += cacheOverhead; !c.on || size > cacheEntry {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !valid() {
		return false
	}
	if _, have := c.values[k]; have {
		return true
	}
	if c.bytes += size; c.bytes > cacheBytes {
		clear(c.values)
		c.bytes = size
	}
	c.values[k] = v
	return true
}

// drop forgets values that a commit changed.
func (c *cache) drop(keys ...cacheKey) {
	if !c.on {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.any++
	for _, k := range keys {
		*c.slot(k)++
		delete(c.values, k) // its bytes stay counted until the next clearing
	}
}

// dropAll forgets everything: after changes that are rare and touch much.
func (c *cache) dropAll() {
	if !c.on {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	clear(c.values)
	c.bytes = 0
}

func imageKey(p arn.Place, repo, ref string) cacheKey { return cacheKey{p, repo, 'i', ref} }

func layerKey(p arn.Place, repo, digest string) cacheKey { return cacheKey{p, repo, 'l', digest} }
