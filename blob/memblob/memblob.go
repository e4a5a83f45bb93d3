// Package memblob is a blob.Store in memory: for tests, and for registries that
// may forget everything when they stop.
package memblob

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/berth-registry/berth/blob"
)

// Store keeps bytes in a map. The zero value is not usable; call New.
type Store struct {
	mu   sync.Mutex
	next int
	data map[string][]byte
	made map[string]time.Time
}

// New makes an empty store.
func New() *Store { return &Store{data: map[string][]byte{}, made: map[string]time.Time{}} }

var _ blob.Store = (*Store)(nil)

// Create implements blob.Store.
func (s *Store) Create(context.Context) (blob.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	key := strconv.Itoa(s.next)
	s.data[key], s.made[key] = nil, time.Now()
	return &writer{s: s, key: key}, nil
}

// Resume implements blob.Store.
func (s *Store) Resume(_ context.Context, key string, offset int64) (blob.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.data[key]
	if !ok || int64(len(b)) < offset {
		return nil, fmt.Errorf("%w: %s", blob.ErrNotFound, key)
	}
	s.data[key] = b[:offset:offset]
	return &writer{s: s, key: key}, nil
}

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, key string, size int64) (blob.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.data[key]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %s", blob.ErrNotFound, key)
	case int64(len(b)) != size:
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d", blob.ErrDamaged, key, len(b), size)
	}
	return reader{bytes.NewReader(b)}, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.data, key)
	delete(s.made, key)
	return nil
}

// Walk implements blob.Store.
func (s *Store) Walk(_ context.Context, fn func(blob.Info) error) error {
	s.mu.Lock()
	made := maps.Clone(s.made)
	sizes := map[string]int64{}
	for k, b := range s.data {
		sizes[k] = int64(len(b))
	}
	s.mu.Unlock()
	for k, t := range made {
		if err := fn(blob.Info{Key: k, Size: sizes[k], Modified: t}); err != nil {
			return err
		}
	}
	return nil
}

// Close implements blob.Store.
func (s *Store) Close() error { return nil }

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

type writer struct {
	s   *Store
	key string
}

func (w *writer) Key() string { return w.key }

func (w *writer) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.data[w.key] = append(w.s.data[w.key], p...)
	return len(p), nil
}

func (w *writer) Sync() error    { return nil }
func (w *writer) Commit() error  { return nil }
func (w *writer) Suspend() error { return nil }
func (w *writer) Discard() error { return w.s.Delete(context.Background(), w.key) }
