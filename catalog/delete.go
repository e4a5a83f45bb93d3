package catalog

import (
	"context"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// DeleteEntity removes an entity. Others that name it lose the name; those that must name
// it go with it if dependents says so, and else keep it from being removed: NotFound,
// HasDependents.
func (c *Catalog) DeleteEntity(ctx context.Context, account arn.Account, blueprint, id string, dependents bool, by Actor) error {
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		b := m.blueprints[blueprint]
		if b == nil {
			return errNoBlueprint(blueprint)
		}
		return c.deleteOne(tx, m, account, b, id, dependents, by)
	})
	if err != nil && CodeOf(err) != NotFound {
		c.refused(ctx, account, by, "entity", blueprint, id, nil, err)
	}
	return err
}

func (c *Catalog) deleteOne(tx *sqldb.Tx, m *Model, account arn.Account, b *Blueprint, id string, dependents bool, by Actor) error {
	e, gone, err := txAnyEntity(tx, account, b.Identifier, key(id))
	if err != nil {
		return err
	}
	if e == nil || gone {
		return errNoEntity(b.Identifier, id)
	}
	if e.source < 0 { // whatever made it is to make it anew
		if err := deleteOrigins(tx, account, e.blueprint, e.k); err != nil {
			return err
		}
	}
	return c.remove(tx, m, account, e, dependents, by)
}

// DeleteEntities removes those that exist of up to 100, all or none, and returns them.
func (c *Catalog) DeleteEntities(ctx context.Context, account arn.Account, blueprint string, ids []string, dependents bool, by Actor) ([]string, error) {
	var out []string
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		out = []string{}
		b := m.blueprints[blueprint]
		if b == nil {
			return errNoBlueprint(blueprint)
		}
		for _, id := range ids {
			err := c.deleteOne(tx, m, account, b, id, dependents, by)
			if CodeOf(err) == NotFound {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, id)
		}
		return nil
	})
	return out, err
}

// remove deletes an entity with what must go with it.
func (c *Catalog) remove(tx *sqldb.Tx, m *Model, account arn.Account, e *row, dependents bool, by Actor) error {
	b := m.blueprints[e.blueprint]
	var list []edge
	var have map[string][]link
	var err error
	if m.needed(e.blueprint) {
		if list, err = readDependents(tx.Query, account, e.blueprint, []string{e.k}); err != nil {
			return err
		}
	}
	if !by.quiet {
		if have, err = linksOf(tx.Query, account, b.Identifier, e.k); err != nil {
			return err
		}
	}
	if err := c.erase(tx, b, account, e); err != nil { // first, so that entities that need each other both go
		return err
	}
	for _, d := range list {
		r := m.blueprints[d.from.Blueprint].Relations[d.relation]
		if r == nil || !r.Required || d.from == d.to {
			continue
		}
		if !dependents {
			return fail(HasDependents, "The entity %q of blueprint %q has dependents (has_dependents): %q of blueprint %q needs it as its %s; delete that first, or with delete_dependents",
				e.id, e.blueprint, d.from.Identifier, d.from.Blueprint, d.relation)
		}
		needs, gone, err := txAnyEntity(tx, account, d.from.Blueprint, d.from.Identifier)
		if err != nil {
			return err
		}
		if needs == nil || gone {
			continue
		}
		if err := c.remove(tx, m, account, needs, dependents, by); err != nil {
			return err
		}
	}
	if err := unlink(tx, account, e.blueprint, e.k); err != nil {
		return err
	}
	return c.record(tx, account, by, Change{Action: "DELETE", Resource: "entity", Blueprint: e.blueprint, Entity: e.id, Before: document(b, e, have)})
}

// erase deletes an entity's rows and says nothing of it.
func (c *Catalog) erase(tx *sqldb.Tx, b *Blueprint, account arn.Account, e *row) error {
	if err := deleteValues(tx, account, e.blueprint, e.k, indexRows(b, e)); err != nil {
		return err
	}
	return deleteEntity(tx, account, e.blueprint, e.k)
}
