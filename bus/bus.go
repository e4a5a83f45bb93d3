// Package bus is EventBridge's plane: buses, rules and targets, and the delivery of
// events from the outbox to whoever rules say.
//
// An event that was committed with a change (package event) is matched against the
// rules of its bus, and one durable delivery made per target. Each is attempted at
// least once; first attempts of the events of one repository are in order per target;
// a failed one is tried again with growing, random waits until the target's policy
// ends it, and no target makes another one wait. Receivers themselves are joined by
// the server: the package knows no functions, no log groups and no HTTP.
package bus

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the plane's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// Limits are EventBridge's quotas.
type Limits struct {
	Buses, Rules, Targets int
}

// DefaultLimits are AWS's defaults.
func DefaultLimits() Limits { return Limits{Buses: 100, Rules: 300, Targets: 5} }

// Delivery is one event on its way to one target.
type Delivery struct {
	ID      string
	Place   arn.Place
	Rule    string // ARN
	EventID string
	// Receiver is the target's ARN, and Target what else its rule says of it.
	Receiver string
	Target   *Target
	// Input is what the receiver gets: the event, or what the target makes of it.
	Input []byte
	// Attempt counts from 1, without those that the receiver was too busy for.
	Attempt int
	// Hops is how many buses the event has passed.
	Hops int
}

// Receiver takes deliveries.
type Receiver interface {
	// Deliver attempts a delivery. run is what the receiver calls the attempt, for the
	// history. An error that is a *Final is not tried again, one that is a *Busy is not
	// counted.
	Deliver(ctx context.Context, d *Delivery) (run string, err error)
}

// Batcher is a Receiver that takes several deliveries to one target together.
type Batcher interface {
	Receiver
	// DeliverAll attempts deliveries in their order and returns a run for each. With an
	// error it has perhaps done none of them, and each is attempted by itself.
	DeliverAll(ctx context.Context, list []*Delivery) (runs []string, err error)
}

// Final is the failure of a delivery that no further attempt will change: the
// receiver does not exist, or may not be asked.
type Final struct{ Err error }

func (f *Final) Error() string { return f.Err.Error() }

// Unwrap serves errors.Is.
func (f *Final) Unwrap() error { return f.Err }

// Busy is the failure of a delivery that the receiver had no room for. It counts as no
// attempt: neither among those that a target allows nor as the first one, for which a
// push and the next event of its lane wait.
type Busy struct{ Err error }

func (f *Busy) Error() string { return f.Err.Error() }

// Unwrap serves errors.Is.
func (f *Busy) Unwrap() error { return f.Err }

// Options configures a Bus.
type Options struct {
	// Receivers take deliveries, by the kind of ARN: its service and, after a colon,
	// the resource's first word (lambda:function).
	Receivers map[string]Receiver
	// Holds are the kinds of receivers that a push waits for.
	Holds []string
	// Expand fills in the detail of an event that refers to a record.
	Expand func(ctx context.Context, e *event.Event) error
	Limits Limits // zero: DefaultLimits
	Now    func() time.Time
	Log    *slog.Logger
	// Backoff is the wait before the second attempt; further ones double it. 0 is a
	// second.
	Backoff time.Duration
	// PollEvery is how often the queue is looked at without being told to; 0 is a
	// second.
	PollEvery time.Duration
}

// Bus is the plane. It is safe for concurrent use.
type Bus struct {
	db      *sqldb.DB
	outbox  *event.Outbox
	options Options
	limits  Limits
	now     func() time.Time
	log     *slog.Logger
	pages   *secret.Box
	sealed  *secret.Box
	rules   atomic.Pointer[ruleSet]
	wake    chan struct{}
	reload  sync.Mutex

	mu      sync.Mutex
	busy    map[string]int // running deliveries by receiver
	running int
	ended   chan struct{} // closed and replaced when a first attempt ends
}

var _ event.Consumer = (*Bus)(nil)

// New makes the plane on a migrated database and takes what the outbox holds.
func New(ctx context.Context, db *sqldb.DB, master *secret.Master, outbox *event.Outbox, o Options) (*Bus, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.PollEvery == 0 {
		o.PollEvery = time.Second
	}
	b := &Bus{db: db, outbox: outbox, options: o, limits: o.Limits, now: o.Now, log: o.Log, pages: master.Box("bus-pages"), sealed: master.Box("bus-connections"),
		wake: make(chan struct{}, 1), busy: map[string]int{}, ended: make(chan struct{})}
	b.options.Receivers = map[string]Receiver{"events:event-bus": busReceiver{b}}
	maps.Copy(b.options.Receivers, o.Receivers)
	if err := b.loadRules(ctx); err != nil {
		return nil, err
	}
	outbox.Bind(b)
	return b, nil
}

// Wake implements event.Consumer.
func (b *Bus) Wake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// PageToken makes the token for what follows key in the results of query.
func (b *Bus) PageToken(query string, key any) string { return b.pages.Token(query, key) }

// OpenPageToken reads a token back into key: Validation.
func (b *Bus) OpenPageToken(query, token string, key any) error {
	if b.pages.Untoken(query, token, key) != nil {
		return fail(Validation, "Invalid nextToken: it was not made for this request.")
	}
	return nil
}
