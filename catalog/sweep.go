package catalog

import (
	"context"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/internal/uid"
	"github.com/berth-registry/berth/sqldb"
)

// sweepBatch is how many rows one transaction clears away, so that none takes long.
const sweepBatch = 200

// Run does the plane's background work until ctx ends: it clears away entities that are
// gone and old entries of the log of changes.
func (c *Catalog) Run(ctx context.Context) {
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		if err := c.Sweep(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("catalog sweep", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Sweep does that work once.
func (c *Catalog) Sweep(ctx context.Context) error {
	list, err := c.gone(ctx, 100)
	if err != nil {
		return err
	}
	for _, o := range list {
		for more := true; more; {
			if more, err = c.clear(ctx, o); err != nil {
				return err
			}
		}
	}
	accounts, err := c.accounts(ctx)
	before := uid.New(c.now().Add(-c.retention))
	for _, a := range accounts {
		if err := c.forget(ctx, a, before); err != nil {
			return err
		}
	}
	return err
}

// forget deletes an account's old entries of the log of changes.
func (c *Catalog) forget(ctx context.Context, account arn.Account, before string) error {
	for {
		some, err := c.anyChange(ctx, account, before)
		if err != nil || !some {
			return err
		}
		err = c.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error { return forgetChanges(tx, account, before, sweepBatch) })
		if err != nil {
			return err
		}
	}
}

// clear removes some of an owner's entities, and at last the owner; it reports whether
// there are more.
func (c *Catalog) clear(ctx context.Context, o owner) (more bool, err error) {
	err = c.write(ctx, o.Account, func(tx *sqldb.Tx, m *Model) error {
		list, err := txOwned(tx, o, sweepBatch)
		if err != nil {
			return err
		}
		for _, e := range list {
			b := m.blueprints[e.blueprint]
			if b == nil {
				b = &Blueprint{Identifier: e.blueprint}
			}
			if err := c.erase(tx, b, o.Account, e.row); err != nil {
				return err
			}
			if err := deleteOrigin(tx, Resource{o.Account, o.Region, o.Kind, e.resource}, Ref{e.blueprint, e.k}); err != nil {
				return err
			}
			if err := unlink(tx, o.Account, e.blueprint, e.k); err != nil {
				return err
			}
		}
		if more = len(list) == sweepBatch; more {
			return nil
		}
		return deleteGone(tx, o)
	})
	return more, err
}

// Migration is the removal of all entities of a blueprint, which has ended.
type Migration struct {
	ID            string
	Blueprint     string
	WithBlueprint bool
	Deleted       int
	By            string
	At            time.Time
}

// DeleteAllEntities removes the entities of a blueprint, some at a time, and then
// the blueprint if that is asked for: NotFound, HasDependents.
func (c *Catalog) DeleteAllEntities(ctx context.Context, account arn.Account, blueprint string, withBlueprint bool, by Actor) (*Migration, error) {
	mg := &Migration{ID: uid.New(c.now()), Blueprint: blueprint, WithBlueprint: withBlueprint, By: by.ID, At: c.moment()}
	for more := true; more; {
		n := 0
		err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
			more, n = false, 0
			b := m.blueprints[blueprint]
			if b == nil {
				return errNoBlueprint(blueprint)
			}
			list, err := readPage(tx.Query, account, blueprint, "", nil, sweepBatch)
			if err != nil {
				return err
			}
			for _, e := range list {
				again, gone, err := txAnyEntity(tx, account, blueprint, e.k) // it may have gone with one before
				if err != nil || again == nil || gone {
					if err != nil {
						return err
					}
					continue
				}
				if err := c.remove(tx, m, account, again, true, by); err != nil {
					return err
				}
				n++
			}
			if more = len(list) == sweepBatch; more || !withBlueprint {
				return nil
			}
			return c.deleteBlueprint(tx, m, account, blueprint, by)
		})
		if err != nil {
			return nil, err
		}
		mg.Deleted += n
	}
	return mg, nil
}

// Migration describes one that has ended, as every one has that has an id; what it did is
// in the log of changes: NotFound.
func (c *Catalog) Migration(_ context.Context, _ arn.Account, id string) (*Migration, error) {
	at, ok := uid.Time(id)
	if !ok {
		return nil, fail(NotFound, "There is no migration %q", id)
	}
	return &Migration{ID: id, At: at}, nil
}
