package bus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-registry/berth/event"
	"github.com/berth-registry/berth/sqldb"
)

func (b *Bus) checkReplay(ctx context.Context, v *Replay) error {
	p, name, ok := Named(v.Archive, ArchiveKind)
	if !ok || p != v.Place {
		return fail(Validation, "Parameter EventSourceArn is not valid: %.200q is not the ARN of an archive here.", v.Archive)
	}
	a := &Archive{Resource: Resource{Place: p, Kind: ArchiveKind, Name: name}}
	if err := b.Find(ctx, a); err != nil {
		return err
	}
	if v.Bus != a.Source {
		return fail(Validation, "Parameter Destination.Arn is not valid: events are replayed to the bus they were archived from.")
	}
	if v.From >= v.To {
		return fail(Validation, "Parameter EventEndTime is not valid: it must be after EventStartTime.")
	}
	if v.State == "" {
		v.State = Running
	}
	return nil
}

// replayAll goes on with the replays that run.
func (b *Bus) replayAll(ctx context.Context) error {
	list, err := b.runningReplays(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range list {
		errs = append(errs, b.replay(ctx, v))
	}
	return errors.Join(errs...)
}

// replay makes the deliveries of the next events of a replay. Events are new ones, of
// their old time and with the replay's name; archives do not keep them again.
func (b *Bus) replay(ctx context.Context, v *Replay) error {
	_, archive, _ := Named(v.Archive, ArchiveKind)
	_, on, _ := Named(v.Bus, "event-bus")
	for v.State == Running {
		from, id := v.LastAt, v.LastID
		if from == 0 {
			from, id = v.From-1, "\uffff"
		}
		list, err := b.readArchived(ctx, v.Place, archive, from, id, v.To, batch)
		if err != nil {
			return err
		}
		var deliveries [][]*pending
		for _, e := range list {
			v.LastAt, v.LastID = sqldb.Micros(e.Time), e.ID
			e.ID, e.Bus, e.Replay = event.NewID(), on, v.Name
			var mine []*pending
			for _, c := range b.matching(e) {
				if len(v.Rules) > 0 && !slices.Contains(v.Rules, c.ARN()) {
					continue
				}
				for _, t := range c.targets {
					mine = append(mine, b.delivery(e, c.Rule, t, 0))
				}
			}
			deliveries = append(deliveries, mine)
		}
		if len(list) < batch {
			v.State, v.EndedAt = Completed, sqldb.Micros(b.now())
		}
		v.UpdatedAt = b.now().UTC()
		ok := false
		err = b.db.Write(ctx, func(tx *sqldb.Tx) error {
			var err error
			if ok, err = b.updateResource(tx, v); err != nil || !ok {
				return err // another node goes on with it, or it was cancelled
			}
			for i, e := range list {
				seq, err := tx.Clock()
				if err != nil {
					return err
				}
				for _, d := range deliveries[i] {
					d.seq = seq
				}
				if err := b.queue(tx, e, deliveries[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !ok {
			return err
		}
		v.version++
	}
	return nil
}

// expire removes archived events past their archive's retention.
func (b *Bus) expire(ctx context.Context) error {
	list, err := b.allArchives(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Retention > 0 {
			if err := b.expireArchived(ctx, a, sqldb.Micros(b.now().Add(-time.Duration(a.Retention)*24*time.Hour))); err != nil {
				return err
			}
		}
	}
	return nil
}
