package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Blueprints returns all of an account's blueprints by identifier.
func (c *Catalog) Blueprints(ctx context.Context, account arn.Account) ([]*Blueprint, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	return m.Blueprints(), nil
}

// Blueprint returns one: NotFound.
func (c *Catalog) Blueprint(ctx context.Context, account arn.Account, id string) (*Blueprint, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	if b := m.blueprints[id]; b != nil {
		return b, nil
	}
	return nil, errNoBlueprint(id)
}

// CreateBlueprint makes a blueprint: Invalid, Taken. One that Berth shipped and nobody
// has touched is replaced.
func (c *Catalog) CreateBlueprint(ctx context.Context, account arn.Account, doc map[string]any, by Actor) (*Blueprint, error) {
	b, err := readBlueprint(doc)
	if err != nil {
		return nil, err
	}
	err = c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		old := m.blueprints[b.Identifier]
		if old != nil && !old.Shipped {
			return fail(Taken, "A blueprint %q exists already", b.Identifier)
		}
		if len(m.blueprints) >= maxBlueprints {
			return fail(LimitExceeded, "An account has at most %d blueprints", maxBlueprints)
		}
		return c.putBlueprint(tx, m, account, old, b, by)
	})
	return b, err
}

// ReplaceBlueprint puts a document in a blueprint's place; one with another identifier
// renames it: NotFound, Invalid, Taken.
func (c *Catalog) ReplaceBlueprint(ctx context.Context, account arn.Account, id string, doc map[string]any, by Actor) (*Blueprint, error) {
	return c.changeBlueprint(ctx, account, id, by, func(*Blueprint) map[string]any {
		doc = maps.Clone(doc)
		if doc["identifier"] == nil {
			doc["identifier"] = id
		}
		return doc
	})
}

// PatchBlueprint replaces the parts that a document has.
func (c *Catalog) PatchBlueprint(ctx context.Context, account arn.Account, id string, patch map[string]any, by Actor) (*Blueprint, error) {
	return c.changeBlueprint(ctx, account, id, by, func(old *Blueprint) map[string]any {
		doc := maps.Clone(old.doc)
		maps.Copy(doc, patch)
		return doc
	})
}

func (c *Catalog) changeBlueprint(ctx context.Context, account arn.Account, id string, by Actor, edit func(*Blueprint) map[string]any) (*Blueprint, error) {
	var out *Blueprint
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		old := m.blueprints[id]
		if old == nil {
			return errNoBlueprint(id)
		}
		b, err := readBlueprint(edit(old))
		if err != nil {
			return err
		}
		out = b
		return c.putBlueprint(tx, m, account, old, b, by)
	})
	return out, err
}

// putBlueprint stores a blueprint in place of old, which may be nil, and brings its
// entities with it: values of what is no longer there go.
func (c *Catalog) putBlueprint(tx *sqldb.Tx, m *Model, account arn.Account, old, b *Blueprint, by Actor) error {
	now := c.moment()
	b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy = now, by.ID, now, by.ID
	next, err := m.with(old, b)
	if err == nil {
		err = next.check()
	}
	if err != nil {
		return err
	}
	before := map[string]any(nil)
	if old != nil {
		before = old.JSON()
		b.CreatedAt, b.CreatedBy = old.CreatedAt, old.CreatedBy
		if old.Identifier != b.Identifier {
			if m.blueprints[b.Identifier] != nil {
				return fail(Taken, "A blueprint %q exists already", b.Identifier)
			}
			if slices.Contains(SystemBlueprints(), old.Identifier) {
				return fail(Invalid, "The blueprint %q cannot be renamed", old.Identifier)
			}
			if err := renameBlueprint(tx, account, old.Identifier, b.Identifier); err != nil {
				return err
			}
			for _, other := range next.changedBy(b.Identifier) {
				if err := upsertBlueprint(tx, account, other); err != nil {
					return err
				}
			}
		}
		if err := c.adapt(tx, account, old, b); err != nil {
			return err
		}
	}
	if err := upsertBlueprint(tx, account, b); err != nil {
		return err
	}
	if err := c.nextModel(tx, account, next); err != nil {
		return err
	}
	action := "CREATE"
	if old != nil {
		action = "UPDATE"
	}
	return c.record(tx, account, by, Change{Action: action, Resource: "blueprint", Blueprint: b.Identifier, Before: before, After: b.JSON()})
}

// adapt changes the entities of a blueprint that changed: a property's type cannot change
// while entities have values of it.
func (c *Catalog) adapt(tx *sqldb.Tx, account arn.Account, old, b *Blueprint) error {
	var dropped []string
	for _, id := range slices.Sorted(maps.Keys(old.Properties)) {
		p, was := b.Properties[id], old.Properties[id]
		if p != nil && p.Type == was.Type && (p.Type != "array" || fmt.Sprint(p.index()) == fmt.Sprint(was.index())) && p.index() == was.index() {
			continue
		}
		if p != nil && p.Type != was.Type {
			used, err := propertyUsed(tx, account, b.Identifier, id)
			if err != nil {
				return err
			}
			if used {
				return fail(Invalid, "schema.properties.%s: the type cannot change from %s to %s while entities have values of it", id, was.Type, p.Type)
			}
		}
		dropped = append(dropped, id)
	}
	if len(dropped) > 0 {
		if err := c.reindex(tx, account, b, dropped); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.Relations)) {
		was, r := old.Relations[id], b.Relations[id]
		if r != nil && r.Target == was.Target && (r.Many || !was.Many) {
			continue
		}
		if r == nil || r.Target != was.Target && was.Target != b.Identifier {
			if err := dropRelation(tx, account, b.Identifier, id); err != nil {
				return err
			}
			continue
		}
		if err := shortenRelation(tx, account, b.Identifier, id); err != nil { // to one
			return err
		}
	}
	return nil
}

// DeleteBlueprint removes a blueprint without entities that no relation targets:
// NotFound, HasDependents.
func (c *Catalog) DeleteBlueprint(ctx context.Context, account arn.Account, id string, by Actor) error {
	return c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error { return c.deleteBlueprint(tx, m, account, id, by) })
}

func (c *Catalog) deleteBlueprint(tx *sqldb.Tx, m *Model, account arn.Account, id string, by Actor) error {
	b := m.blueprints[id]
	switch {
	case b == nil:
		return errNoBlueprint(id)
	case slices.Contains(SystemBlueprints(), id):
		return fail(Invalid, "The blueprint %q cannot be deleted", id)
	}
	for _, other := range m.Blueprints() {
		for name, r := range other.Relations {
			if r.Target == id && other.Identifier != id {
				return fail(HasDependents, "The blueprint %q has dependents (has_dependents): relation %q of blueprint %q targets it", id, name, other.Identifier)
			}
		}
		for name, a := range other.Aggregations {
			if a.Target == id && other.Identifier != id {
				return fail(HasDependents, "The blueprint %q has dependents (has_dependents): aggregation %q of blueprint %q targets it", id, name, other.Identifier)
			}
		}
	}
	if has, err := hasEntities(tx, account, id); err != nil || has {
		if err == nil {
			err = fail(HasDependents, "The blueprint %q has dependents (has_dependents): there are entities of it", id)
		}
		return err
	}
	if err := deleteBlueprint(tx, account, id); err != nil {
		return err
	}
	next, err := m.with(b, nil)
	if err != nil {
		return err
	}
	if err := c.nextModel(tx, account, next); err != nil {
		return err
	}
	return c.record(tx, account, by, Change{Action: "DELETE", Resource: "blueprint", Blueprint: id, Before: b.JSON()})
}
