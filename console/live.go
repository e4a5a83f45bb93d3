package console

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/berth-registry/berth/secret"
)

// Streams that tell browsers to look again: how many there may be, how often is looked, and
// when a browser has to ask anew.
const (
	maxStreams     = 256
	maxStreamsEach = 8
	lookEvery      = time.Second
	beatEvery      = 15 * time.Second
	streamLife     = 10 * time.Minute
)

// liveChanges is the topic of all changes of an account. Others are logs/REGION/GROUP.
const liveChanges = "changes"

// mark tells how far a topic is. Without an answer everything is news: the page looks once
// more than it has to.
func (c *Console) mark(q *request, topic string) int64 {
	at, err := c.host.Mark(q.ctx, q.me.Principal.Account, topic)
	if err != nil && q.ctx.Err() == nil {
		c.log.Error("how far a page's topic is cannot be read", "topic", topic, "error", err)
	}
	return at
}

// since is the mark a browser has: that of its page or, when it connects again, that of the
// last event it saw. False when it says none.
func since(r *http.Request) (int64, bool) {
	at, err := strconv.ParseInt(cmp.Or(r.Header.Get("Last-Event-ID"), r.FormValue("since")), 10, 64)
	return at, err == nil
}

// streams counts what is open.
type streams struct {
	mu     sync.Mutex
	all    int
	by     map[secret.String]int
	closed chan struct{} // closed when all have to end
	ended  bool
}

// take makes room for a stream. The channel is closed when all streams have to end.
func (s *streams) take(token secret.String) (<-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.all >= maxStreams || s.by[token] >= maxStreamsEach {
		return nil, false
	}
	s.all++
	s.by[token]++
	return s.closed, true
}

func (s *streams) give(token secret.String) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.by[token]--; s.by[token] == 0 {
		delete(s.by, token)
	}
}

// CloseStreams ends what would keep a stop waiting.
func (c *Console) CloseStreams() {
	c.streams.mu.Lock()
	defer c.streams.mu.Unlock()
	if !c.streams.ended {
		close(c.streams.closed)
		c.streams.ended = true
	}
}

// live tells a page when something of its account has changed (server-sent events, HTML
// Living Standard section 9.2). It says nothing of what: the page asks, with its rights.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	q, ok := c.authenticate(w, r)
	if !ok {
		return
	}
	closed, ok := c.streams.take(q.token)
	if !ok {
		http.Error(w, "Too many pages are open.", http.StatusTooManyRequests)
		return
	}
	defer c.streams.give(q.token)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	ctl := http.NewResponseController(w)
	send := func(text string) bool {
		_, err := fmt.Fprint(w, text)
		return err == nil && ctl.Flush() == nil
	}
	topic := r.FormValue("topic")
	last, known := since(r)
	if !known {
		last = c.mark(q, topic)
	}
	// tell looks, and says so when the browser has not seen what there is.
	tell := func() bool {
		now, err := c.host.Mark(q.ctx, q.me.Principal.Account, topic)
		if err != nil {
			return false
		}
		if now > last && !send(fmt.Sprintf("id: %d\nevent: changed\ndata: \n\n", now)) {
			return false
		}
		last = max(last, now)
		return true
	}
	if !send("retry: 3000\n\n") || !tell() {
		return
	}
	look, beat, end := time.NewTicker(lookEvery), time.NewTicker(beatEvery), time.NewTimer(streamLife)
	defer look.Stop()
	defer beat.Stop()
	defer end.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-closed:
			return
		case <-end.C:
			return
		case <-beat.C:
			if _, err := c.identity.Browser(q.ctx, q.token); err != nil || !send(": still here\n\n") {
				return
			}
		case <-look.C:
			if !tell() {
				return
			}
		}
	}
}
