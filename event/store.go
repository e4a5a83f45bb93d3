package event

import (
	"context"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/sqldb"
)

func insert(tx *sqldb.Tx, e *Event, seq int64) error {
	resources, err := json.Marshal(e.Resources)
	if err != nil {
		return err
	}
	return tx.Run(`insert into event_outbox (seq, id, account, region, bus, source, detail_type, at, resources, detail, ref, order_key, read_only, replay, hops)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`, seq, e.ID, e.Place.Account, e.Place.Region, e.Bus, e.Source, e.DetailType,
		e.Time.UnixMicro(), string(resources), string(e.Detail), e.Ref, e.Key, sqldb.Flag(e.ReadOnly), e.Replay, e.Hops)
}

// Read returns the oldest events of the outbox.
func Read(ctx context.Context, db *sqldb.DB, limit int) ([]*Queued, error) {
	rows, err := db.Query(ctx, `select seq, id, account, region, bus, source, detail_type, at, resources, detail, ref, order_key, read_only, replay, hops
		from event_outbox order by seq, id limit $1`, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Queued, error) {
		q := &Queued{}
		var at, readOnly int64
		var resources, detail string
		if err := scan(&q.Seq, &q.ID, &q.Place.Account, &q.Place.Region, &q.Bus, &q.Source, &q.DetailType, &at, &resources, &detail, &q.Ref, &q.Key,
			&readOnly, &q.Replay, &q.Hops); err != nil {
			return nil, err
		}
		q.Time, q.Detail, q.ReadOnly = time.UnixMicro(at).UTC(), json.RawMessage(detail), readOnly != 0
		return q, json.Unmarshal([]byte(resources), &q.Resources)
	})
}

// Take removes an event from the outbox in the transaction that makes something of
// it. It reports false when somebody else was faster.
func Take(tx *sqldb.Tx, q *Queued) (bool, error) {
	n, err := tx.Exec("delete from event_outbox where seq = $1 and id = $2", q.Seq, q.ID)
	return n == 1, err
}

// Waiting reports whether an event is still in the outbox.
func Waiting(ctx context.Context, db *sqldb.DB, id string) (bool, error) {
	var n int
	err := db.QueryRow(ctx, []any{&n}, "select count(*) from event_outbox where id = $1", id)
	return n > 0, err
}
