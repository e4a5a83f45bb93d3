package bus

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

// Hold begins to wait for a repository on behalf of a push whose event is given, in the
// transaction that would put the event out. It returns the id of the event that is
// waited for: another one's, when somebody waits for the repository already.
func (b *Bus) Hold(tx *sqldb.Tx, p arn.Place, repository, eventID string, life time.Duration) (string, error) {
	return hold(tx, p, repository, eventID, sqldb.Micros(b.now()), sqldb.Micros(b.now().Add(life)))
}

// Send queues something for a receiver without a rule: a function's asynchronous
// invocation. It survives this process.
func (b *Bus) Send(ctx context.Context, p arn.Place, t *Target, payload []byte) error {
	e := &event.Event{ID: event.NewID(), Place: p, Time: b.now()}
	d := &pending{Delivery: Delivery{ID: event.NewID(), Place: p, EventID: e.ID, Receiver: t.ARN, Target: t}}
	err := b.db.Write(ctx, func(tx *sqldb.Tx) error {
		if err := insertPayload(tx, e, json.RawMessage(payload)); err != nil {
			return err
		}
		return insertDelivery(tx, d, sqldb.Micros(b.now()))
	})
	b.Wake()
	return err
}
