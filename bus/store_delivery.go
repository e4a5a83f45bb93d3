package bus

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

// The states of a delivery.
const (
	statePending = iota
	stateRunning
	stateDelivered
	stateFailed // for good
	stateQueued // waits for the first attempt of the one before it in its lane
)

// pending is a delivery as the queue has it.
type pending struct {
	Delivery
	bus, rule string
	seq, lane int64
	held      bool
	attempts  int
	turned    int // of the attempts, those that found the receiver too busy
	fence     int64
	created   time.Time
}

func insertEvent(tx *sqldb.Tx, e *event.Event) error {
	return tx.Run("insert into bus_events (id, account, region, at, body, ref, hops) values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing",
		e.ID, e.Place.Account, e.Place.Region, sqldb.Micros(e.Time), string(e.JSON()), e.Ref, e.Hops)
}

func insertDelivery(tx *sqldb.Tx, d *pending, now int64) error {
	state := statePending
	if d.lane != 0 {
		ahead, err := exists(tx, "select 1 from deliveries where lane = $1 and attempts = turned and state in (0, 1, 4) limit 1", d.lane)
		if err != nil {
			return err
		}
		if ahead {
			state = stateQueued
		}
	}
	return tx.Run(`insert into deliveries (id, seq, account, region, event_id, bus, rule, target_id, target, receiver, held, lane, state, attempts, turned,
		next_at, fence, created_at, ended_at, run, error)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, $14, 0, $14, 0, '', '')`, d.ID, d.seq, d.Place.Account, d.Place.Region, d.EventID,
		d.bus, d.rule, d.Target.ID, sqldb.JSON(d.Target), d.Receiver, sqldb.Flag(d.held), d.lane, state, now)
}

func exists(tx *sqldb.Tx, q string, args ...any) (bool, error) {
	var one int
	err := tx.QueryRow([]any{&one}, q, args...)
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	return err == nil, err
}

const pendingColumns = "id, seq, account, region, event_id, bus, rule, target, receiver, held, lane, attempts, turned, fence, created_at"

func scanPending(scan func(...any) error) (*pending, error) {
	d := &pending{Delivery: Delivery{Target: &Target{}}}
	var target []byte
	var held, created int64
	if err := scan(&d.ID, &d.seq, &d.Place.Account, &d.Place.Region, &d.EventID, &d.bus, &d.rule, &target, &d.Receiver, &held, &d.lane, &d.attempts, &d.turned,
		&d.fence, &created); err != nil {
		return nil, err
	}
	d.held, d.created = held != 0, sqldb.Time(created)
	return d, json.Unmarshal(target, d.Target)
}

// due reads deliveries whose time has come, but those of busy receivers.
func (b *Bus) due(ctx context.Context, now int64, busy []string, limit int) ([]*pending, error) {
	q := "select " + pendingColumns + " from deliveries where state = 0 and next_at <= $1"
	args := []any{now, limit}
	for _, r := range busy {
		args = append(args, r)
		q += " and receiver <> $" + strconv.Itoa(len(args))
	}
	rows, err := b.db.Query(ctx, q+" order by next_at, seq limit $2", args...)
	return sqldb.Collect(rows, err, scanPending)
}

// follow takes the deliveries, so many at most, that wait for the first attempt of the one
// before them in a lane, until a lease ends; none while that has not been.
func follow(tx *sqldb.Tx, lane, until int64, most int) ([]*pending, error) {
	if lane == 0 {
		return nil, nil
	}
	ahead, err := exists(tx, "select 1 from deliveries where lane = $1 and attempts = turned and state in (0, 1) limit 1", lane)
	if err != nil || ahead {
		return nil, err
	}
	rows, err := tx.Query("select "+pendingColumns+" from deliveries where lane = $1 and state = 4 order by seq, id limit $2", lane, most)
	list, err := sqldb.Collect(rows, err, scanPending)
	if err != nil {
		return nil, err
	}
	for i, d := range list {
		n, err := tx.Exec("update deliveries set state = 1, next_at = $3, fence = fence + 1 where id = $1 and fence = $2 and state = 4", d.ID, d.fence, until)
		if err != nil || n != 1 {
			return list[:i], err
		}
		d.fence++
	}
	return list, nil
}

// unattempted says where a delivery is that nobody attempts any more: in its lane, unless it
// has let the next one go before.
const unattempted = "case when lane <> 0 and attempts = turned then 4 else 0 end"

// requeue gives back deliveries of a lane that were taken.
func requeue(tx *sqldb.Tx, list []*pending, now int64) error {
	for _, d := range list {
		if _, err := tx.Exec("update deliveries set state = "+unattempted+", next_at = $3, fence = fence + 1 where id = $1 and fence = $2 and state = 1", d.ID, d.fence,
			now); err != nil {
			return err
		}
	}
	return nil
}

// claim takes a delivery for this node until its lease ends; false when another one
// did.
func claim(tx *sqldb.Tx, d *pending, until int64) (bool, error) {
	n, err := tx.Exec("update deliveries set state = 1, next_at = $3, fence = fence + 1 where id = $1 and fence = $2 and state = 0", d.ID, d.fence, until)
	return n == 1, err
}

func renew(tx *sqldb.Tx, d *pending, until int64) error {
	_, err := tx.Exec("update deliveries set next_at = $3 where id = $1 and fence = $2 and state = 1", d.ID, d.fence, until)
	return err
}

// settle writes how an attempt ended, unless the lease was lost.
func settle(tx *sqldb.Tx, d *pending, state int, nextAt, endedAt int64, turned bool, run, failure string) (bool, error) {
	n, err := tx.Exec(`update deliveries set state = $3, attempts = attempts + 1, turned = turned + $8, next_at = $4, ended_at = $5, run = $6, error = $7, fence = fence + 1
		where id = $1 and fence = $2 and state = 1`, d.ID, d.fence, state, nextAt, endedAt, run, failure, sqldb.Flag(turned))
	return n == 1, err
}

// promote lets the next delivery of a lane go.
func promote(tx *sqldb.Tx, lane int64) error {
	if lane == 0 {
		return nil
	}
	_, err := tx.Exec(`update deliveries set state = 0 where state = 4 and id = (select id from deliveries where lane = $1 and state = 4
		order by seq, id limit 1) and not exists (select 1 from deliveries where lane = $1 and attempts = turned and state in (0, 1))`, lane)
	return err
}

// laneBatch is how many lanes are let go in one transaction.
const laneBatch = 1000

// recover gives back deliveries whose node has gone, all running ones when it was
// this one, and lets lanes go that nobody is ahead in.
func (b *Bus) recover(ctx context.Context, before int64) error {
	for more := true; more; {
		err := b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
			// Of a lane several may have been running together: they wait for each other again.
			if _, err := tx.Exec("update deliveries set state = "+unattempted+", next_at = $2, fence = fence + 1 where state = 1 and next_at < $1", before,
				sqldb.Micros(b.now())); err != nil {
				return err
			}
			rows, err := tx.Query(`select distinct lane from deliveries d where state = 4 and not exists
				(select 1 from deliveries a where a.lane = d.lane and a.attempts = a.turned and a.state in (0, 1)) limit $1`, laneBatch)
			lanes, err := sqldb.Collect(rows, err, func(scan func(...any) error) (int64, error) {
				var lane int64
				return lane, scan(&lane)
			})
			if err != nil {
				return err
			}
			more = len(lanes) == laneBatch
			for _, lane := range lanes {
				if err := promote(tx, lane); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readEvent reads an event that is being delivered.
func (b *Bus) readEvent(ctx context.Context, d *pending) (body []byte, at time.Time, err error) {
	var n int64
	err = b.db.QueryRow(ctx, []any{&body, &n, &d.Hops}, "select body, at, hops from bus_events where id = $1", d.EventID)
	return body, sqldb.Time(n), err
}

// yetToAttempt counts the deliveries of an event that a push waits for and that were
// not attempted yet, but for attempts that were turned away.
func (b *Bus) yetToAttempt(ctx context.Context, eventID string) (n int, err error) {
	err = b.db.QueryRow(ctx, []any{&n}, "select count(*) from deliveries where event_id = $1 and held = 1 and attempts = turned and state in (0, 1, 4)", eventID)
	return n, err
}

// sweep removes what ended before a time.
func (b *Bus) sweep(ctx context.Context, before int64) error {
	return b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		for _, state := range []int{stateDelivered, stateFailed} {
			if _, err := tx.Exec("delete from deliveries where state = $1 and ended_at < $2", state, before); err != nil {
				return err
			}
		}
		_, err := tx.Exec("delete from bus_events where at < $1 and not exists (select 1 from deliveries d where d.event_id = bus_events.id)", before)
		return err
	})
}

// Past is a delivery of the past or present, for the history.
type Past struct {
	ID, EventID, Ref string
	Rule, Receiver   string
	Attempts         int
	State            string
	Run, Error       string
	CreatedAt        time.Time
	EndedAt          time.Time
}

var stateNames = [...]string{"pending", "running", "delivered", "failed", "queued"}

// History lists the deliveries of an event to an account's rules.
func (b *Bus) History(ctx context.Context, p arn.Place, eventID string) ([]*Past, error) {
	rows, err := b.db.Query(ctx, `select d.id, d.event_id, e.ref, d.bus, d.rule, d.receiver, d.attempts, d.state, d.run, d.error, d.created_at, d.ended_at
		from deliveries d join bus_events e on e.id = d.event_id where d.event_id = $1 and d.account = $2 and d.region = $3 order by d.created_at, d.id`,
		eventID, p.Account, p.Region)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Past, error) { return scanPast(p, scan) })
}

// Delivered returns one delivery, nil when it is not kept any more.
func (b *Bus) Delivered(ctx context.Context, p arn.Place, id string) (*Past, error) {
	rows, err := b.db.Query(ctx, `select d.id, d.event_id, e.ref, d.bus, d.rule, d.receiver, d.attempts, d.state, d.run, d.error, d.created_at, d.ended_at
		from deliveries d join bus_events e on e.id = d.event_id where d.id = $1 and d.account = $2 and d.region = $3`, id, p.Account, p.Region)
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (*Past, error) { return scanPast(p, scan) })
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func scanPast(p arn.Place, scan func(...any) error) (*Past, error) {
	x := &Past{}
	var bus, rule string
	var state int
	var created, ended int64
	if err := scan(&x.ID, &x.EventID, &x.Ref, &bus, &rule, &x.Receiver, &x.Attempts, &state, &x.Run, &x.Error, &created, &ended); err != nil {
		return nil, err
	}
	x.Rule, x.State, x.CreatedAt, x.EndedAt = RuleARN(p, bus, rule), stateNames[state], sqldb.Time(created), sqldb.Time(ended)
	return x, nil
}

// insertPayload stores what is sent without an event's envelope.
func insertPayload(tx *sqldb.Tx, e *event.Event, payload []byte) error {
	_, err := tx.Exec("insert into bus_events (id, account, region, at, body, ref, hops) values ($1, $2, $3, $4, $5, '', 0)", e.ID, e.Place.Account, e.Place.Region,
		sqldb.Micros(e.Time), string(payload))
	return err
}

func hold(tx *sqldb.Tx, p arn.Place, repository, eventID string, now, until int64) (string, error) {
	n, err := tx.Exec(`insert into push_holds (account, region, repository, event_id, until) values ($1, $2, $3, $4, $5)
		on conflict (account, region, repository) do update set event_id = excluded.event_id, until = excluded.until where push_holds.until < $6`,
		p.Account, p.Region, repository, eventID, until, now)
	if err != nil || n == 1 {
		return eventID, err
	}
	var other string
	err = tx.QueryRow([]any{&other}, "select event_id from push_holds where account = $1 and region = $2 and repository = $3", p.Account, p.Region, repository)
	return other, err
}

// Unhold lets the next push that misses a repository begin anew.
func (b *Bus) Unhold(ctx context.Context, p arn.Place, repository, eventID string) error {
	return b.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("delete from push_holds where account = $1 and region = $2 and repository = $3 and event_id = $4", p.Account, p.Region, repository, eventID)
		return err
	})
}
