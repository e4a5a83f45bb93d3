package sqldb

import (
	"context"
	"fmt"
	"sync"
)

// readers are connections for reads outside of transactions. They are opened when they are
// needed, and the one that was used last, whose cache is the warmest, is lent first.
type readers struct {
	open  func() (*lite, error)
	slots chan struct{}

	mu     sync.Mutex
	idle   []*lite
	closed bool
}

func newReaders(n int, open func() (*lite, error)) *readers {
	return &readers{open: open, slots: make(chan struct{}, n)}
}

// take lends a connection until give.
func (r *readers) take(ctx context.Context) (*lite, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		<-r.slots
		return nil, fmt.Errorf("%w: the database is closed", ErrUnavailable)
	}
	if n := len(r.idle) - 1; n >= 0 {
		c := r.idle[n]
		r.idle = r.idle[:n]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := r.open()
	if err != nil {
		<-r.slots
		return nil, err
	}
	return c, nil
}

func (r *readers) give(c *lite) {
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.idle = append(r.idle, c)
	}
	r.mu.Unlock()
	if closed {
		_ = c.close()
	}
	<-r.slots
}

// close closes the connections; those that are lent, when they come back.
func (r *readers) close() (err error) {
	r.mu.Lock()
	idle := r.idle
	r.idle, r.closed = nil, true
	r.mu.Unlock()
	for _, c := range idle {
		if e := c.close(); e != nil {
			err = e
		}
	}
	return err
}
