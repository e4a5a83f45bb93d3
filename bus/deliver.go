package bus

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// pace is the least time between two rounds.
	pace = 3 * time.Millisecond
	// maxRunning and maxPerReceiver bound the deliveries under way on a node.
	maxRunning     = 128
	maxPerReceiver = 16
	// lease is how long a node keeps a delivery without a sign of life.
	lease = 30 * time.Second
	// maxBackoff is the longest wait between attempts.
	maxBackoff = 30 * time.Minute
	// maxBusyWait is the same after attempts that the receiver had no room for.
	maxBusyWait = time.Minute
	// defaultAge is how long an event is tried when its target does not say.
	defaultAge = 24 * time.Hour
	// keepFor is how long ended deliveries stay in the history.
	keepFor = 7 * 24 * time.Hour
	// maxFailure bounds the text of a failure that is kept.
	maxFailure = 1000
)

// Run matches and delivers until ctx ends; then it waits for what is under way.
func (b *Bus) Run(ctx context.Context) {
	before := sqldb.Micros(b.now())
	if b.db.SingleProcess() {
		before = math.MaxInt64 // whoever was delivering is gone
	}
	if err := b.recover(ctx, before); err != nil && ctx.Err() == nil {
		b.log.Error("taking up deliveries again", "error", err)
	}
	poll, slow := time.NewTicker(b.options.PollEvery), time.NewTicker(5*time.Second)
	sweep := time.NewTicker(time.Hour)
	defer poll.Stop()
	defer slow.Stop()
	defer sweep.Stop()
	var work sync.WaitGroup
	defer work.Wait()
	lanes := &leases{b: b, held: map[string]*pending{}}
	b.round(ctx, &work, lanes)
	last := time.Now()
	for {
		select {
		case <-b.wake:
			if wait := pace - time.Since(last); wait > 0 { // under load a round is for several events
				time.Sleep(wait)
			}
		case <-poll.C:
			if !b.db.SingleProcess() { // another node may have changed them
				b.report(ctx, "reading the rules", b.loadRules(ctx))
			}
			b.report(ctx, "making scheduled events", b.scheduled(ctx))
			b.report(ctx, "replaying events", b.replayAll(ctx))
		case <-slow.C:
			b.report(ctx, "keeping deliveries", lanes.renew(ctx))
			b.report(ctx, "taking up deliveries again", b.recover(ctx, sqldb.Micros(b.now())))
		case <-sweep.C:
			b.report(ctx, "removing old deliveries", b.sweep(ctx, sqldb.Micros(b.now().Add(-keepFor))))
			b.report(ctx, "removing old events of archives", b.expire(ctx))
		case <-ctx.Done():
			return
		}
		b.round(ctx, &work, lanes)
		last = time.Now()
	}
}

func (b *Bus) report(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		b.log.Error(what, "error", err)
	}
}

// round matches what is new and starts what is due.
func (b *Bus) round(ctx context.Context, work *sync.WaitGroup, l *leases) {
	b.report(ctx, "matching events", b.matchAll(ctx))
	for more := true; more; {
		var err error
		more, err = b.start(ctx, work, l)
		b.report(ctx, "taking deliveries", err)
	}
}

// leases are the deliveries under way on this node.
type leases struct {
	b    *Bus
	mu   sync.Mutex
	held map[string]*pending
}

func (l *leases) hold(d *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[d.ID] = d
}

func (l *leases) drop(d *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, d.ID)
}

func (l *leases) renew(ctx context.Context) error {
	l.mu.Lock()
	list := make([]*pending, 0, len(l.held))
	for _, d := range l.held {
		list = append(list, d)
	}
	l.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	return l.b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		for _, d := range list {
			if err := renew(tx, d, sqldb.Micros(l.b.now().Add(lease))); err != nil {
				return err
			}
		}
		return nil
	})
}

// start claims deliveries that are due and attempts them in the background. It reports
// whether there may be more of them.
func (b *Bus) start(ctx context.Context, work *sync.WaitGroup, l *leases) (bool, error) {
	b.mu.Lock()
	room := maxRunning - b.running
	var busy []string
	for r, n := range b.busy {
		if n >= maxPerReceiver {
			busy = append(busy, r)
		}
	}
	b.mu.Unlock()
	if room <= 0 {
		return false, nil
	}
	due, err := b.due(ctx, sqldb.Micros(b.now()), busy, room)
	if err != nil || len(due) == 0 {
		return false, err
	}
	full := len(due) == room
	due = b.reserve(due)
	var mine []*pending
	err = b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		mine = nil
		for _, d := range due {
			ok, err := claim(tx, d, sqldb.Micros(b.now().Add(lease)))
			if err != nil {
				return err
			}
			if ok {
				mine = append(mine, d)
			}
		}
		return nil
	})
	if err != nil {
		b.release(due)
		return false, err
	}
	claimed := map[string]bool{}
	for _, d := range mine {
		claimed[d.ID] = true
		d.fence++
		l.hold(d)
		work.Go(func() {
			b.attemptLane(ctx, d, l)
			b.Wake()
		})
	}
	for _, d := range due {
		if !claimed[d.ID] {
			b.release([]*pending{d})
		}
	}
	return full && len(mine) > 0, nil
}

// reserve keeps room for deliveries, and leaves those out for which there is none.
func (b *Bus) reserve(due []*pending) []*pending {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*pending
	for _, d := range due {
		if b.running < maxRunning && b.busy[d.Receiver] < maxPerReceiver {
			b.running++
			b.busy[d.Receiver]++
			out = append(out, d)
		}
	}
	return out
}

func (b *Bus) release(list []*pending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range list {
		b.running--
		if b.busy[d.Receiver]--; b.busy[d.Receiver] == 0 {
			delete(b.busy, d.Receiver)
		}
	}
}

// after says what follows a failure: another attempt, and when, or none.
func (b *Bus) after(d *pending, err error, now time.Time) (state int, next int64) {
	var final *Final
	retries, age := d.Target.Retries, time.Duration(d.Target.Age)*time.Second
	if retries < 0 {
		retries = maxRetries
	}
	if age < 0 {
		age = defaultAge
	}
	busy := errors.As(err, new(*Busy))
	if errors.As(err, &final) || !busy && d.attempts-d.turned >= retries {
		return stateFailed, 0
	}
	most := maxBackoff
	if busy {
		most = maxBusyWait
	}
	wait := min(most, b.options.Backoff<<min(d.attempts, 16))
	wait = wait/2 + rand.N(wait)
	if at := now.Add(wait); at.Before(d.created.Add(age)) {
		return statePending, sqldb.Micros(at)
	}
	return stateFailed, 0
}

// dead is the delivery of a failed one to its dead letter target.
func (d *pending) dead(failure string) *pending {
	t := &Target{ID: d.Target.ID, ARN: d.Target.DeadLetter, Retries: 3, Age: -1, Failed: d.Receiver, Dead: failure}
	n := *d
	n.ID, n.Receiver, n.Target, n.lane, n.held, n.attempts, n.turned, n.fence = event.NewID(), t.ARN, t, 0, false, 0, 0, 0
	return &n
}

// FirstAttempts waits until all deliveries of an event that pushes wait for have been
// attempted once.
func (b *Bus) FirstAttempts(ctx context.Context, eventID string) error {
	for {
		b.mu.Lock()
		ended := b.ended
		b.mu.Unlock()
		waiting, err := event.Waiting(ctx, b.db, eventID)
		if err != nil {
			return err
		}
		if !waiting {
			n, err := b.yetToAttempt(ctx, eventID)
			if err != nil || n == 0 {
				return err
			}
		}
		select {
		case <-ended:
		case <-time.After(100 * time.Millisecond): // another node may deliver it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
