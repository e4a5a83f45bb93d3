// Package event is the envelope that every event of Berth travels in, in
// EventBridge's shape, and the outbox that it starts from.
//
// An event is appended to the outbox in the transaction of the change it tells of:
// it exists if and only if the change was committed. Who reads the outbox, and what
// becomes of events (package bus), is not known here.
package event

import (
	"embed"
	"encoding/json"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event/pattern"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations holds the outbox's schema for sqldb.Migrate.
func Migrations() fs.FS { return migrations }

// DefaultBus is the bus that Berth's own events are put on.
const DefaultBus = "default"

// APICall is the detail-type of records of API calls.
const APICall = "AWS API Call via CloudTrail"

// Event is one event.
type Event struct {
	// ID is a UUID; Append makes one where it is empty.
	ID         string
	Place      arn.Place
	Bus        string // "" is DefaultBus
	Source     string // such as aws.ecr
	DetailType string
	Time       time.Time
	Resources  []string
	// Detail is a JSON object. It may be empty until the event is read, when Ref
	// names the record of the call that it tells of.
	Detail json.RawMessage
	Ref    string
	// Head gives texts of the detail before it is made. It may be nil.
	Head pattern.Head
	// Key orders events: first deliveries of those with the same key are in order.
	// It is usually a repository's ARN.
	Key string
	// ReadOnly marks the record of a call that changed nothing, which most rules do
	// not see.
	ReadOnly bool
	// Hops is how many buses the event has passed.
	Hops int
	// Replay is the name of the replay that the event belongs to, "" for none.
	Replay string
}

// NewID makes an id that begins with the time, so that what it names is found by it.
func NewID() string { return uid.New(time.Now()) }

// JSON is the event in EventBridge's envelope.
func (e *Event) JSON() []byte {
	detail := e.Detail
	if len(detail) == 0 {
		detail = json.RawMessage("{}")
	}
	resources := e.Resources
	if resources == nil {
		resources = []string{}
	}
	b, err := json.Marshal(struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    arn.Account     `json:"account"`
		Time       string          `json:"time"`
		Region     arn.Region      `json:"region"`
		Resources  []string        `json:"resources"`
		Replay     string          `json:"replay-name,omitempty"`
		Detail     json.RawMessage `json:"detail"`
	}{"0", e.ID, e.DetailType, e.Source, e.Place.Account, e.Time.UTC().Format("2006-01-02T15:04:05Z"), e.Place.Region, resources, e.Replay, detail})
	if err != nil {
		panic(err) // Detail is checked where it comes from outside
	}
	return b
}

// Consumer is who reads the outbox.
type Consumer interface {
	// Wants reports whether anybody may ask for an event. It is asked within
	// transactions and must be quick; it may say yes in doubt.
	Wants(e *Event) bool
	// Wake is told after a commit that events were appended.
	Wake()
}

// Outbox takes events. Until it has a consumer it drops them.
type Outbox struct{ consumer atomic.Pointer[Consumer] }

// Bind sets the consumer.
func (o *Outbox) Bind(c Consumer) { o.consumer.Store(&c) }

// Wants reports whether an event would be kept.
func (o *Outbox) Wants(e *Event) bool {
	if o == nil {
		return false
	}
	c := o.consumer.Load()
	return c != nil && (*c).Wants(e)
}

// Append writes an event that somebody may ask for into the outbox, in the
// transaction of what it tells of.
func (o *Outbox) Append(tx *sqldb.Tx, e *Event) error {
	if !o.Wants(e) {
		return nil
	}
	return o.AppendWanted(tx, e)
}

// AppendWanted is Append for an event of which it is known that it is wanted.
func (o *Outbox) AppendWanted(tx *sqldb.Tx, e *Event) error {
	if e.ID == "" {
		e.ID = NewID()
	}
	if e.Bus == "" {
		e.Bus = DefaultBus
	}
	seq, err := tx.Clock()
	if err != nil {
		return err
	}
	if err := insert(tx, e, seq); err != nil {
		return err
	}
	tx.AfterCommit((*o.consumer.Load()).Wake)
	return nil
}

// Queued is an event of the outbox.
type Queued struct {
	Event
	// Seq orders the events of a key.
	Seq int64
}
