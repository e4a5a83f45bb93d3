package registry

import (
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/blob"
)

// session is an open upload in this process.
type session struct {
	mu        sync.Mutex // held by the request that works on it
	ref       UploadRef
	repo      int64
	started   time.Time
	used      time.Time
	up        *blob.Upload
	parts     int64
	short     bool // a part before the last was under the least size
	lastShort bool // the last part is
	persisted bool // a row exists
	saved     time.Time
	ended     bool
}

// sessions are the uploads of this process by id.
type sessions struct {
	mu   *sync.Mutex
	byID map[string]*session
	open map[arn.Account]int
}

func newSessions() sessions {
	return sessions{&sync.Mutex{}, map[string]*session{}, map[arn.Account]int{}}
}

func (s sessions) get(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// add registers a session unless one with its id is there; it returns the one
// that counts.
func (s sessions) add(n *session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byID[n.ref.ID]; old != nil {
		return old
	}
	s.byID[n.ref.ID] = n
	s.open[n.ref.Place.Account]++
	return n
}

func (s sessions) remove(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[n.ref.ID] == n {
		delete(s.byID, n.ref.ID)
		if s.open[n.ref.Place.Account]--; s.open[n.ref.Place.Account] == 0 {
			delete(s.open, n.ref.Place.Account)
		}
	}
}

func (s sessions) count(a arn.Account) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[a]
}

func (s sessions) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.byID))
	for _, v := range s.byID {
		out = append(out, v)
	}
	return out
}

// dropRepository ends the uploads of a deleted repository.
func (s sessions) dropRepository(id int64) {
	for _, v := range s.all() {
		if v.repo != id {
			continue
		}
		v.mu.Lock()
		if !v.ended {
			v.ended = true
			v.up.Discard()
		}
		v.mu.Unlock()
		s.remove(v)
	}
}
