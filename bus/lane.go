package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/berth-registry/berth/event/input"
	"github.com/berth-registry/berth/sqldb"
)

// together is how many deliveries of a lane a Batcher is given at once.
const together = 32

// attemptLane attempts a delivery, and then those that wait for it: one after the other or,
// where their receiver can take them so, together.
func (b *Bus) attemptLane(ctx context.Context, d *pending, l *leases) {
	for lane := []*pending{d}; len(lane) > 0; {
		next := b.attemptAll(ctx, lane)
		for _, n := range next {
			l.hold(n)
		}
		if len(next) > 0 {
			b.mu.Lock()
			b.running++ // one more for a moment
			b.busy[next[0].Receiver]++
			b.mu.Unlock()
		}
		for _, d := range lane {
			l.drop(d)
		}
		b.release(lane[:1])
		lane = next
	}
}

// attemptAll attempts deliveries of one lane and returns those that follow them and are
// taken by this node.
func (b *Bus) attemptAll(ctx context.Context, lane []*pending) (next []*pending) {
	if len(lane) > 1 {
		if next, ok := b.attemptTogether(ctx, lane); ok {
			return next
		}
	}
	for i, d := range lane {
		o, done := b.attempt(ctx, d)
		if !done { // the server stops: another node, or the next start, goes on
			b.giveBack(ctx, lane[i:])
			return nil
		}
		// What is ahead keeps those behind it from being followed: until the last there is
		// nothing to take.
		var written bool
		if next, written = b.settle(ctx, []outcome{o}, lane[i+1:]); !written || o.busy || ctx.Err() != nil {
			return next
		}
	}
	return next
}

func (b *Bus) giveBack(ctx context.Context, lane []*pending) {
	err := b.db.WriteRelaxed(context.WithoutCancel(ctx), func(tx *sqldb.Tx) error {
		if err := requeue(tx, lane, sqldb.Micros(b.now())); err != nil {
			return err
		}
		return promote(tx, lane[0].lane)
	})
	if err != nil {
		b.log.Warn("giving back deliveries; they are taken up when their leases end", "error", err)
	}
}

// attemptTogether attempts deliveries as one. It reports false when that is not possible, or
// failed; then nothing has been written.
func (b *Bus) attemptTogether(ctx context.Context, lane []*pending) (next []*pending, ok bool) {
	receiver := b.batcher(lane[0])
	if receiver == nil {
		return nil, false
	}
	list := make([]*Delivery, len(lane))
	for i, d := range lane {
		if list[i] = &d.Delivery; d.Receiver != lane[0].Receiver || b.prepare(ctx, d) != nil {
			return nil, false
		}
	}
	runs, err := guarded(func() ([]string, error) { return receiver.DeliverAll(ctx, list) })
	if err != nil || len(runs) != len(list) {
		return nil, false
	}
	outcomes := make([]outcome, len(lane))
	for i, d := range lane {
		outcomes[i] = outcome{d: d, run: runs[i], state: stateDelivered}
	}
	next, _ = b.settle(ctx, outcomes, nil)
	return next, true
}

// outcome is how an attempt ended.
type outcome struct {
	d       *pending
	run     string
	state   int
	again   int64 // when it is attempted again
	busy    bool
	failure string
}

// attempt delivers once. It reports false when the server stops meanwhile.
func (b *Bus) attempt(ctx context.Context, d *pending) (o outcome, done bool) {
	run, err := b.deliver(ctx, d)
	if ctx.Err() != nil && err != nil {
		return o, false
	}
	o = outcome{d: d, run: run, state: stateDelivered}
	if err != nil {
		o.failure = err.Error()[:min(len(err.Error()), maxFailure)]
		o.busy = errors.As(err, new(*Busy))
		o.state, o.again = b.after(d, err, b.now())
	}
	return o, true
}

// settle writes how attempts ended and returns the deliveries that follow the last in its
// lane and are taken by this node. rest are those that were taken with them and are not
// attempted yet: they go back when they have to wait. Where nothing could be written their
// leases end, and all are attempted again in order.
func (b *Bus) settle(ctx context.Context, list []outcome, rest []*pending) (next []*pending, written bool) {
	last := list[len(list)-1]
	now := b.now()
	err := b.db.WriteRelaxed(context.WithoutCancel(ctx), func(tx *sqldb.Tx) error {
		next = nil
		mine := false
		for _, o := range list {
			var err error
			if mine, err = b.settleOne(tx, o, sqldb.Micros(now)); err != nil {
				return err
			}
		}
		if last.busy || ctx.Err() != nil {
			if err := requeue(tx, rest, sqldb.Micros(now)); err != nil {
				return err
			}
		}
		switch {
		case !mine, last.d.attempts > last.d.turned, last.busy && last.state == statePending: // it let the next one go before, or has yet to
			return nil
		case ctx.Err() != nil: // another node, or the next start, takes it
			return promote(tx, last.d.lane)
		}
		most := 1
		if b.batcher(last.d) != nil {
			most = together
		}
		var err error
		next, err = follow(tx, last.d.lane, sqldb.Micros(now.Add(lease)), most)
		return err
	})
	if err != nil {
		next = nil
		b.log.Error("writing how a delivery ended; it will be attempted again", "delivery", last.d.ID, "error", err)
	}
	first := false
	for _, o := range list {
		if o.state == stateFailed {
			b.log.Warn("an event could not be delivered", "rule", o.d.Rule, "target", o.d.Receiver, "event", o.d.EventID, "attempts", o.d.attempts+1, "error", o.failure)
		}
		first = first || o.d.attempts == o.d.turned
	}
	if first {
		b.mu.Lock()
		close(b.ended)
		b.ended = make(chan struct{})
		b.mu.Unlock()
	}
	return next, err == nil
}

// settleOne writes how one attempt ended, unless its lease was lost.
func (b *Bus) settleOne(tx *sqldb.Tx, o outcome, now int64) (mine bool, err error) {
	ended := int64(0)
	if o.state != statePending {
		ended = now
	}
	mine, err = settle(tx, o.d, o.state, o.again, ended, o.busy, o.run, o.failure)
	if err != nil || !mine || o.state != stateFailed || o.d.Target.DeadLetter == "" {
		return mine, err
	}
	return mine, insertDelivery(tx, o.d.dead(o.failure), now)
}

// receiver is what takes a delivery: *Final when there is none.
func (b *Bus) receiver(d *pending) (Receiver, error) {
	kind, err := receiverKind(d.Receiver)
	if err != nil {
		return nil, &Final{err}
	}
	receiver := b.options.Receivers[kind]
	if receiver == nil {
		return nil, &Final{fmt.Errorf("this server has no %s", kind)}
	}
	return receiver, nil
}

// batcher is the receiver of a delivery if it takes several together, else nil.
func (b *Bus) batcher(d *pending) Batcher {
	receiver, err := b.receiver(d)
	if err != nil {
		return nil
	}
	batcher, _ := receiver.(Batcher)
	return batcher
}

// prepare makes what the receiver gets.
func (b *Bus) prepare(ctx context.Context, d *pending) error {
	body, at, err := b.readEvent(ctx, d)
	if err != nil {
		return err
	}
	d.Rule, d.Attempt = RuleARN(d.Place, d.bus, d.rule), d.attempts-d.turned+1
	d.Input, err = input.Make(body, d.Target.Input, d.Target.InputPath, d.Target.Transform, input.About{RuleName: d.rule, RuleARN: d.Rule, Ingested: at})
	if err != nil {
		return &Final{err}
	}
	if d.Target.Dead != "" {
		d.Input = []byte(sqldb.JSON(map[string]any{"error": d.Target.Dead, "rule": d.Rule, "target": d.Target.Failed, "event": json.RawMessage(body)}))
	}
	return nil
}

func (b *Bus) deliver(ctx context.Context, d *pending) (run string, err error) {
	receiver, err := b.receiver(d)
	if err == nil {
		err = b.prepare(ctx, d)
	}
	if err != nil {
		return "", err
	}
	return guarded(func() (string, error) { return receiver.Deliver(ctx, &d.Delivery) })
}

// guarded turns a receiver's panic into an error.
func guarded[T any](deliver func() (T, error)) (run T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("delivering panicked: %v", p)
		}
	}()
	return deliver()
}
