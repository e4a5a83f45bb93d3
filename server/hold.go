package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// holdTime is how long a push waits for its repository unless Config says otherwise.
	holdTime = 10 * time.Second
	// maxWaiting and maxWaitingEach bound the requests that wait: in all, and of one
	// principal.
	maxWaiting     = 1000
	maxWaitingEach = 100
	// lookEvery is how often a waiting push looks for its repository.
	lookEvery = 20 * time.Millisecond
)

// holds are the pushes of this node that wait until somebody makes their repository.
type holds struct {
	mu      sync.Mutex
	total   int
	each    map[string]int
	waiting map[holdKey]chan struct{} // closed when waiting is over
}

type holdKey struct {
	place arn.Place
	name  string
}

func newHolds() *holds { return &holds{each: map[string]int{}, waiting: map[holdKey]chan struct{}{}} }

// enter counts a waiting request; false when there are too many.
func (h *holds) enter(who string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total >= maxWaiting || h.each[who] >= maxWaitingEach {
		return false
	}
	h.total++
	h.each[who]++
	return true
}

func (h *holds) leave(who string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.total--
	if h.each[who]--; h.each[who] == 0 {
		delete(h.each, who)
	}
}

// missing is the registry's Missing: a push has no repository and no template makes one.
// The failed call is recorded, which is the event that rules of the user's wait for; if
// one of them runs a function, the push waits until the repository is there, the function
// has ended, or the time is over. All layers of a push wait for the same event.
func (s *Server) missing(ctx context.Context, p arn.Place, name string) error {
	missed := s.errMissing(ctx, p, name)
	if missed == nil {
		return nil
	}
	caller := gate.CallerFrom(ctx)
	c := gate.Call{Principal: caller.Principal, Service: "ecr", Action: "InitiateLayerUpload", Place: p, Resources: []string{arn.Repository(p, name).String()}}
	e := s.trail.Tells(ctx, c, missed)
	if e == nil || !s.bus.Holds(e) {
		_, err := s.trail.Failed(ctx, c, missed, nil)
		return errors.Join(gate.ErrUnrecorded, missed, err)
	}
	if !s.holds.enter(caller.Principal.ARN) {
		return &registry.Error{Code: registry.LimitExceeded, Message: "Too many pushes are waiting for their repositories to be created. Try again in a few seconds."}
	}
	defer s.holds.leave(caller.Principal.ARN)
	key := holdKey{p, name}
	s.holds.mu.Lock()
	done := s.holds.waiting[key]
	if done == nil {
		done = make(chan struct{})
		s.holds.waiting[key] = done
		// What is begun is ended also when this client leaves: others wait for it, too.
		go s.holdOn(context.WithoutCancel(ctx), key, done, c, missed)
	}
	s.holds.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil // the registry looks again
}

// holdOn puts the event out and waits for what comes of it.
func (s *Server) holdOn(ctx context.Context, key holdKey, done chan<- struct{}, c gate.Call, missed error) {
	defer func() {
		s.holds.mu.Lock()
		delete(s.holds.waiting, key)
		s.holds.mu.Unlock()
		close(done)
	}()
	life := s.cfg.HoldTime
	if life == 0 {
		life = holdTime
	}
	ctx, cancel := context.WithTimeout(ctx, life)
	defer cancel()
	waitFor := ""
	_, err := s.trail.Failed(ctx, c, missed, func(tx *sqldb.Tx, e *event.Event) (bool, error) {
		var err error
		waitFor, err = s.bus.Hold(tx, key.place, key.name, e.ID, life)
		return waitFor == e.ID, err
	})
	if err != nil || waitFor == "" {
		if err != nil {
			s.log.Error("a push to a missing repository could not be recorded", "repository", key.name, "error", err)
		}
		return
	}
	attempted := make(chan struct{})
	go func() {
		defer close(attempted)
		if err := s.bus.FirstAttempts(ctx, waitFor); err != nil && ctx.Err() == nil {
			s.log.Error("waiting for functions", "event", waitFor, "error", err)
		}
	}()
	defer func() {
		cancel()
		<-attempted
		if err := s.bus.Unhold(sqldb.Apart(ctx), key.place, key.name, waitFor); err != nil {
			s.log.Error("ending the wait for a repository", "repository", key.name, "error", err)
		}
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if s.errMissing(ctx, key.place, key.name) == nil {
				return
			}
		case <-attempted:
			return
		case <-ctx.Done():
			return
		}
	}
}
