package bus

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/event/pattern"
	"github.com/berth-registry/berth/internal/strictjson"
	"github.com/berth-registry/berth/sqldb"
)

const (
	// MaxEntries is how many events a call may put.
	MaxEntries = 10
	// maxEntry is how large an event may be, in bytes.
	maxEntry = 256 << 10
	// maxDepth bounds how deep an event's detail nests.
	maxDepth = 64
)

// CheckEntry tells what is wrong with an event that somebody puts: the code and text
// of its entry in the answer, "" for nothing.
func CheckEntry(e *event.Event) (code, message string) {
	switch {
	case e.Source == "":
		return "InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."
	case e.DetailType == "":
		return "InvalidArgument", "Parameter DetailType is not valid. Reason: DetailType is a required argument."
	case len(e.Detail) == 0:
		return "InvalidArgument", "Parameter Detail is not valid. Reason: Detail is a required argument."
	case strings.HasPrefix(e.Source, "aws."):
		return "NotAuthorizedForSourceException", "Not authorized for the source."
	case len(e.Source) > 256 || len(e.DetailType) > 128:
		return "InvalidArgument", "Source may have 256 characters and DetailType 128."
	case strictjson.Check(e.Detail, maxDepth) != nil:
		return "MalformedDetail", "Detail is malformed."
	}
	return "", ""
}

// TooLarge reports whether events are together larger than a call may put.
func TooLarge(list []*event.Event) bool {
	n := 0
	for _, e := range list {
		n += len(e.Detail) + len(e.Source) + len(e.DetailType) + 14
		for _, r := range e.Resources {
			n += len(r)
		}
	}
	return n > maxEntry
}

// Now is the plane's time.
func (b *Bus) Now() time.Time { return b.now().UTC() }

// Put puts events, which CheckEntry has found good, on their buses: NotFound.
func (b *Bus) Put(ctx context.Context, list []*event.Event) error {
	for _, e := range list {
		if _, err := b.Bus(ctx, e.Place, e.Bus); err != nil {
			return err
		}
	}
	return b.db.Write(ctx, func(tx *sqldb.Tx) error {
		for _, e := range list {
			if err := b.outbox.Append(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestPattern tells whether an event in its envelope matches a pattern: InvalidPattern,
// Validation.
func TestPattern(text, envelope string) (bool, error) {
	p, err := pattern.Parse(text)
	if err != nil {
		return false, fail(InvalidPattern, "%s", err)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(envelope), &fields) != nil {
		return false, fail(Validation, "Parameter Event is not valid. Reason: Event is not a valid JSON object.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if _, ok := fields[name]; !ok {
			return false, fail(Validation, "Parameter Event is not valid. Reason: the field %s is missing.", name)
		}
	}
	e, err := pattern.Decode([]byte(envelope))
	if err != nil {
		return false, fail(Validation, "Parameter Event is not valid. Reason: %s.", err)
	}
	return p.Match(e), nil
}

// busReceiver passes events on to another bus.
type busReceiver struct{ b *Bus }

// maxHops is how many buses an event passes: buses that point at each other do not
// go on for ever.
const maxHops = 3

// Deliver implements Receiver.
func (r busReceiver) Deliver(ctx context.Context, d *Delivery) (string, error) {
	a, err := arn.Parse(d.Receiver)
	if err != nil {
		return "", &Final{err}
	}
	_, name, _ := strings.Cut(a.Resource, "/")
	to := arn.Place{Account: a.Account, Region: a.Region}
	if to.Account != d.Place.Account {
		return "", &Final{fail(Validation, "events do not go to buses of other accounts")}
	}
	var in struct {
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(d.Input, &in); err != nil {
		return "", &Final{err}
	}
	if d.Hops >= maxHops {
		return "", &Final{fail(Validation, "the event has passed %d buses", d.Hops+1)}
	}
	e := &event.Event{ID: event.NewID(), Place: to, Bus: name, Source: in.Source, DetailType: in.DetailType, Time: r.b.now().UTC(), Resources: in.Resources,
		Detail: in.Detail, Hops: d.Hops + 1}
	return e.ID, r.b.Put(ctx, []*event.Event{e})
}
