package trail

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// addActivity counts the records of a segment.
func addActivity(tx *sqldb.Tx, p arn.Place, s *segmentRow) error {
	for k, n := range s.activity {
		if err := tx.Run(`insert into trail_activity (account, region, hour, name, outcome, calls) values ($1, $2, $3, $4, $5, $6)
			on conflict (account, region, hour, name, outcome) do update set calls = trail_activity.calls + excluded.calls`, p.Account, p.Region, k.hour, k.name, k.outcome, n); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trail) readActivity(ctx context.Context, a arn.Account, from int64) (map[activityKey]int64, error) {
	rows, err := t.db.Query(ctx, "select hour, name, outcome, calls from trail_activity where account = $1 and hour >= $2", a, from)
	type line struct {
		activityKey
		n int64
	}
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (line, error) {
		var l line
		return l, scan(&l.hour, &l.name, &l.outcome, &l.n)
	})
	out := map[activityKey]int64{}
	for _, l := range list {
		out[l.activityKey] += l.n
	}
	return out, err
}

// recentOf reads the records of an account that are in no segment yet.
func (t *Trail) recentOf(ctx context.Context, a arn.Account, from int64) ([]*Record, error) {
	return t.records(ctx, arn.Place{Account: a}, "select body from trail_recent where account = $1 and at >= $2", a, from)
}

// Newest tells when the last change of an account was recorded, in microseconds, 0 when it
// is some time ago: who sees it grow knows that something happened.
func (t *Trail) Newest(ctx context.Context, a arn.Account) (at int64, err error) {
	err = t.db.QueryRow(ctx, []any{&at}, "select coalesce(max(at), 0) from trail_recent where account = $1 and reads = 0", a)
	return at, err
}
