package trail

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
)

// change is the record of a call that may change something, on its way into the
// change's transaction.
type change struct {
	rows    []*row // nil until the transaction
	written bool   // committed
}

type changeKey struct{}

// row is a record in one trail, ready to be written.
type row struct {
	record *Record
	body   []byte
	event  *event.Event // nil when no rule asks for it
}

// Prepare implements gate.Recorder: the first transaction of the returned context
// also writes the record.
func (t *Trail) Prepare(ctx context.Context, c gate.Call) context.Context {
	if c.Action == layerPart { // it is lost with a crash, as the part may be
		return ctx
	}
	n := &change{}
	inner := context.WithValue(ctx, changeKey{}, n)
	before := func() {
		if n.rows == nil { // what the request asks for is known by now
			n.rows = t.rows(t.record(ctx, c))
		}
	}
	return sqldb.WithHook(inner, before, func(tx *sqldb.Tx) error {
		if n.written {
			return nil
		}
		tx.AfterCommit(func() { // before the outbox wakes anybody
			n.written = true
			if x := gate.ExchangeFrom(ctx); x == nil || x.Early != nil {
				return
			}
			for _, w := range n.rows { // the answer is made after the transaction
				t.open.Store(w.record.ID, make(chan struct{}))
			}
		})
		return t.insertAll(tx, n.rows)
	})
}

// record describes a call that begins.
func (t *Trail) record(ctx context.Context, c gate.Call) *Record {
	caller := gate.CallerFrom(ctx)
	r := &Record{At: t.now().UTC().Truncate(time.Microsecond), Source: source(c.Service), Name: operation(c.Service, c.Name()),
		Action: c.Service + ":" + c.Action, Targets: c.Resources, ReadOnly: c.ReadOnly, Who: t.options.Who(ctx, c.Principal), Place: c.Place, Home: c.Place,
		SourceIP: caller.SourceIP, UserAgent: caller.UserAgent, RequestID: caller.RequestID, Keys: c.Keys}
	r.ID = uid.New(r.At)
	if t.options.Additional != nil {
		r.Additional = t.options.Additional(ctx, c.Principal)
	}
	x := gate.ExchangeFrom(ctx)
	if x != nil && x.Operation != "" {
		r.Name = operation(c.Service, x.Operation)
	}
	if x != nil && x.Early != nil && !c.ReadOnly {
		r.Response = bound(x.Early())
	}
	if x != nil && x.Params != nil {
		r.Params = bound(x.Params())
	} else if len(c.Params) > 0 {
		if b, err := json.Marshal(c.Params); err == nil {
			r.Params = bound(b)
		}
	}
	return r
}

// rows are what is written of a record: one for the account that the call was about
// and, unless it was refused there, one for the caller's.
func (t *Trail) rows(r *Record) []*row {
	place := r.Home
	own := arn.Place{Account: arn.Account(r.Who.AccountID), Region: place.Region}
	if own.Account == "" || own.Account == place.Account {
		return []*row{t.row(r, place)}
	}
	if r.ErrorCode == accessDenied {
		return []*row{t.row(r, own)}
	}
	if r.Shared == "" {
		r.Shared = event.NewID()
	}
	mine := *r
	mine.ID = event.NewID()
	return []*row{t.row(r, place), t.row(&mine, own)}
}

func (t *Trail) row(r *Record, p arn.Place) *row {
	r.Place = p
	w := &row{record: r, body: r.encode()}
	if e := t.event(r); t.options.Events.Wants(e) {
		e.Detail = r.JSON()
		if t.options.Events.Wants(e) {
			e.ID, e.Detail = event.NewID(), nil // the detail is in the record
			w.event = e
		}
	}
	return w
}

// event is the event that tells of a record. Its detail is made when it is read:
// Expand.
func (t *Trail) event(r *Record) *event.Event {
	key := ""
	if len(r.Targets) > 0 {
		key = r.Targets[0]
	}
	return &event.Event{Place: r.Place, Source: "aws." + serviceOf(r.Source), DetailType: event.APICall, Time: r.At, Ref: r.ID, Head: (&heading{Record: r}).text, Key: key,
		ReadOnly: r.ReadOnly}
}

func (t *Trail) insertAll(tx *sqldb.Tx, rows []*row) error {
	for _, w := range rows {
		if err := insertRecord(tx, w.record, w.body); err != nil {
			return err
		}
	}
	return t.tell(tx, rows)
}

// tell puts the events out that rules ask for.
func (t *Trail) tell(tx *sqldb.Tx, rows []*row) error {
	for _, w := range rows {
		if w.event == nil {
			continue
		}
		if err := t.options.Events.AppendWanted(tx, w.event); err != nil {
			return err
		}
	}
	return nil
}

const (
	accessDenied = "AccessDenied"
	layerPart    = "UploadLayerPart"
	// answerTime is how long an event waits for the answer of the call it tells of.
	answerTime = time.Second
)

// coded is how the planes' errors tell what a record says of them.
type coded interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

// Record implements gate.Recorder.
func (t *Trail) Record(ctx context.Context, c gate.Call, _ time.Duration, err error) {
	n, _ := ctx.Value(changeKey{}).(*change)
	x := gate.ExchangeFrom(ctx)
	if err == nil && n != nil && n.written {
		t.complete(x, n)
		return
	}
	r := t.record(ctx, c)
	var denied *gate.Denied
	fault(r, err)
	if errors.As(err, &denied) {
		r.Targets = []string{denied.Resource}
		if t.deny(ctx, c, r, denied) {
			done(x)
			return
		}
	}
	if x == nil || err != nil || r.ReadOnly || x.Early != nil {
		done(x)
		t.later(r)
		return
	}
	x.WhenDone(func(response json.RawMessage) {
		r.Response = bound(response)
		t.later(r)
	})
}

// done marks an exchange as recorded.
func done(x *gate.Exchange) {
	if x != nil {
		x.Recorded()
	}
}

// Refused records a request that was refused before it became a call, because it
// made no sense.
func (t *Trail) Refused(ctx context.Context, c gate.Call, err error) {
	r := t.record(ctx, c)
	fault(r, err)
	t.later(r)
}

// Failed records a call that fails, or would, in a transaction of its own and at once,
// with the event that tells of it. admit is asked within the transaction whether the
// event is let out. It returns the event, nil when no rule asks for it or it was not let
// out.
func (t *Trail) Failed(ctx context.Context, c gate.Call, err error, admit func(*sqldb.Tx, *event.Event) (bool, error)) (*event.Event, error) {
	r := t.record(ctx, c)
	fault(r, err)
	rows := t.rows(r)
	e := rows[0].event
	var out bool
	werr := t.db.Write(sqldb.Apart(ctx), func(tx *sqldb.Tx) error {
		if out = e != nil; out && admit != nil {
			var err error
			if out, err = admit(tx, e); err != nil {
				return err
			}
		}
		if rows[0].event = e; !out {
			rows[0].event = nil
		}
		return t.insertAll(tx, rows)
	})
	done(gate.ExchangeFrom(ctx))
	if werr != nil || !out {
		return nil, werr
	}
	told := *e
	told.Detail = r.JSON()
	return &told, nil
}

// Tells returns the event that would tell of a failed call, without recording it; nil
// when no rule asks for it.
func (t *Trail) Tells(ctx context.Context, c gate.Call, err error) *event.Event {
	r := t.record(ctx, c)
	fault(r, err)
	w := t.rows(r)[0]
	if w.event == nil {
		return nil
	}
	told := *w.event
	told.Detail = w.record.JSON()
	return &told
}

func fault(r *Record, err error) {
	if err != nil {
		r.Response = nil
	}
	var denied *gate.Denied
	var e coded
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		r.ErrorCode, r.ErrorMessage = "RequestCanceled", "The client closed the connection before the call had ended."
	case errors.As(err, &denied):
		r.ErrorCode, r.ErrorMessage = accessDenied, denied.Error()
	case errors.As(err, &e):
		r.ErrorCode, r.ErrorMessage = e.ErrorCode(), e.ErrorMessage()
	default:
		r.ErrorCode, r.ErrorMessage = "InternalFailure", "The request could not be completed."
	}
}

// deny writes a denial's record and explanation before it is answered. It reports
// false when there were too many to do so.
func (t *Trail) deny(ctx context.Context, c gate.Call, r *Record, d *gate.Denied) bool {
	if ok, _ := t.denials.Take(""); !ok {
		return false
	}
	rows := t.rows(r)
	write := func(tx *sqldb.Tx) error { return t.insertAll(tx, rows) }
	var err error
	if own := sqldb.Apart(ctx); t.options.Denied != nil {
		err = t.options.Denied(sqldb.WithHook(own, nil, write), c, d)
	} else {
		err = t.db.Write(own, write)
	}
	if err != nil {
		t.log.Error("a denial could not be kept; it cannot be explained later", "request", r.RequestID, "error", err)
	}
	return true
}

// later gathers a record.
func (t *Trail) later(r *Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buffer) >= maxBuffered {
		t.dropped.Add(1)
		return
	}
	t.buffer = append(t.buffer, r)
}

// complete adds the response to records that are written already.
func (t *Trail) complete(x *gate.Exchange, n *change) {
	if x == nil || x.Early != nil {
		done(x)
		return
	}
	x.WhenDone(func(response json.RawMessage) {
		for _, w := range n.rows {
			if len(response) > 0 {
				t.mu.Lock()
				w.record.Response = bound(response)
				if len(t.updates) < maxBuffered {
					t.updates = append(t.updates, w.record)
				}
				t.mu.Unlock()
			}
			if ready, ok := t.open.LoadAndDelete(w.record.ID); ok {
				close(ready.(chan struct{}))
			}
		}
	})
}

// await waits a moment for the response of a record that this process has just
// written.
func (t *Trail) await(ctx context.Context, id string) {
	ready, ok := t.open.Load(id)
	if !ok {
		return
	}
	select {
	case <-ready.(chan struct{}):
	case <-time.After(answerTime):
		t.open.Delete(id)
	case <-ctx.Done():
	}
}
