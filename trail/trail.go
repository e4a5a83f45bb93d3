// Package trail keeps one record of each API call, whichever protocol carried it, in
// CloudTrail's shape, and finds them again.
//
// It is the gate's recorder. The record of a change is written in the change's own
// transaction; denials and pushes that miss their repository are durable before they
// are answered; successful reads and failures that changed nothing are gathered for a
// tenth of a second. A record that a rule asks for is put on the event outbox with it.
//
// Records rest in two forms: the last ones as rows, older ones in compressed segments
// of a thousand with an index of their attributes, so that recording costs one insert
// and looking up reads only what can match. The package does not decide what a call
// may do, and keeps no log of what a program prints (package logs).
package trail

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/limit"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

const (
	// flushEvery is how long a record may wait in memory.
	flushEvery = 100 * time.Millisecond
	// maxBuffered bounds the records that wait; more are dropped, and counted.
	maxBuffered = 20_000
	// flushBatch is how many records are written in one transaction, at most.
	flushBatch = 2048
	// leastSegment is how many records are worth a segment at once.
	leastSegment = 64
	// sealAfter is how long records stay rows, so that segments seldom overlap.
	sealAfter = 10 * time.Second
	// sealEvery is how often rows are looked through.
	sealEvery = 5 * time.Second
	// segmentRecords is how many records a segment of rows holds, and maxSpan the most
	// time that any segment spans.
	segmentRecords = 1024
	maxSpan        = time.Hour
	// maxDocument bounds the parameters and the response of a record, in bytes.
	maxDocument = 64 << 10
	// denialBurst denials at once, and as many more per denialPeriod, are durable before
	// they are answered; more are gathered like reads.
	denialBurst  = 200
	denialPeriod = 10 * time.Second
)

// DefaultRetention is how long records are kept unless Options say otherwise.
const DefaultRetention = 90 * 24 * time.Hour

// Options configures a Trail.
type Options struct {
	// Who describes a caller. nil: by its principal alone.
	Who func(ctx context.Context, p arn.Principal) Who
	// Denied is told of a denial in the context in which its record is written, so
	// that what it writes is committed with it. It may be nil.
	Denied func(ctx context.Context, c gate.Call, d *gate.Denied) error
	// Additional tells more about a call, such as the run of a function that made it.
	Additional func(ctx context.Context, p arn.Principal) map[string]string
	// Manifest finds a manifest that a record refers to.
	Manifest func(ctx context.Context, p arn.Place, repository, digest string) (string, error)
	// Events takes the records that rules ask for.
	Events    *event.Outbox
	Retention time.Duration
	Now       func() time.Time
	Log       *slog.Logger
}

// Trail is the plane. It is safe for concurrent use.
type Trail struct {
	db      *sqldb.DB
	options Options
	now     func() time.Time
	log     *slog.Logger
	pages   *secret.Box

	mu      sync.Mutex
	buffer  []*Record
	updates []*Record // whose response became known after they were written
	dropped atomic.Int64
	denials *limit.Limiter
	flushMu sync.Mutex
	// deflaters are *flate.Writer.
	deflaters sync.Pool
	open      sync.Map // id of a written record whose response is not known yet -> chan struct{}
}

var _ gate.Recorder = (*Trail)(nil)

// New makes the plane on a migrated database.
func New(db *sqldb.DB, master *secret.Master, o Options) *Trail {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Who == nil {
		o.Who = func(_ context.Context, p arn.Principal) Who {
			return Who{Type: p.Kind, PrincipalID: p.ID, ARN: p.ARN, AccountID: string(p.Account), AccessKeyID: p.AccessKeyID}
		}
	}
	return &Trail{db: db, options: o, now: o.Now, log: o.Log, pages: master.Box("trail-pages"),
		denials: limit.New(denialBurst, denialPeriod, 1, o.Now)}
}

// Dropped is how many records were lost because too many came at once.
func (t *Trail) Dropped() int64 { return t.dropped.Load() }

// Run writes what is gathered, seals segments and forgets what is too old, until
// ctx ends; then it writes the rest.
func (t *Trail) Run(ctx context.Context) {
	flush, seal, forget := time.NewTicker(flushEvery), time.NewTicker(sealEvery), time.NewTicker(time.Hour)
	defer flush.Stop()
	defer seal.Stop()
	defer forget.Stop()
	told := int64(0)
	for {
		select {
		case <-flush.C:
			t.flushOrLog(ctx)
		case <-seal.C:
			if err := t.Seal(ctx); err != nil && ctx.Err() == nil {
				t.log.Error("sealing the trail", "error", err)
			}
			if n := t.dropped.Load(); n > told {
				t.log.Error("records of API calls were lost: too many at once", "records", n-told)
				told = n
			}
		case <-forget.C:
			if err := t.forget(ctx, t.now().Add(-t.options.Retention)); err != nil && ctx.Err() == nil {
				t.log.Error("removing old records of the trail", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			t.flushOrLog(last)
			return
		}
	}
}

func (t *Trail) flushOrLog(ctx context.Context) {
	if err := t.Flush(ctx); err != nil && ctx.Err() == nil {
		t.log.Error("writing the trail", "error", err)
	}
}

// Flush writes what is gathered.
func (t *Trail) Flush(ctx context.Context) error {
	t.flushMu.Lock() // a reader waits for records that are on their way
	defer t.flushMu.Unlock()
	for {
		t.mu.Lock()
		n, m := min(len(t.buffer), flushBatch), min(len(t.updates), flushBatch)
		batch, updates := t.buffer[:n:n], t.updates[:m:m]
		t.buffer, t.updates = t.buffer[n:], t.updates[m:]
		if len(t.buffer) == 0 {
			t.buffer = nil
		}
		if len(t.updates) == 0 {
			t.updates = nil
		}
		t.mu.Unlock()
		if n == 0 && m == 0 {
			return nil
		}
		if err := t.write(ctx, batch, updates); err != nil {
			t.mu.Lock()
			t.buffer, t.updates = append(batch, t.buffer...), append(updates, t.updates...)
			t.mu.Unlock()
			return err
		}
	}
}

// write writes gathered records: many of one trail as a segment, few as rows.
func (t *Trail) write(ctx context.Context, batch, updates []*Record) error {
	byPlace := map[arn.Place][]*row{}
	for _, r := range batch {
		for _, w := range t.rows(r) {
			byPlace[w.record.Place] = append(byPlace[w.record.Place], w)
		}
	}
	var rows []*row
	segments := map[arn.Place]*segmentRow{}
	for p, list := range byPlace {
		if len(list) < leastSegment {
			rows = append(rows, list...)
			continue
		}
		s, err := t.segment(list)
		if err != nil {
			return err
		}
		segments[p] = s
	}
	return t.db.WriteRelaxed(sqldb.Apart(ctx), func(tx *sqldb.Tx) error {
		for p, s := range segments {
			if err := insertSegment(tx, p, s); err != nil {
				return err
			}
			if err := t.tell(tx, byPlace[p]); err != nil {
				return err
			}
		}
		if err := t.insertAll(tx, rows); err != nil {
			return err
		}
		for _, r := range updates {
			if err := update(tx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// bound replaces a document that is too long for a record.
func bound(b json.RawMessage) json.RawMessage {
	if len(b) > maxDocument {
		return json.RawMessage(`{"omitted":true,"reasonForOmission":"the document is too long for a record"}`)
	}
	return b
}
