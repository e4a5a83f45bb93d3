package catalog

import (
	"context"
	"maps"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// RenameMember gives a property, relation or mirror property (part) another name; values
// and links stay: NotFound, Invalid.
func (c *Catalog) RenameMember(ctx context.Context, account arn.Account, blueprint, part, from, to string, by Actor) (*Blueprint, error) {
	var out *Blueprint
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		old := m.blueprints[blueprint]
		if old == nil {
			return errNoBlueprint(blueprint)
		}
		doc, err := renamed(old, part, from, to)
		if err != nil {
			return err
		}
		b, err := readBlueprint(doc)
		if err != nil {
			return err
		}
		if out = b; part == "relations" {
			if err := renameRelation(tx, account, blueprint, from, to); err != nil {
				return err
			}
		}
		if part == "properties" {
			if err := c.renameProperty(tx, account, b, from, to); err != nil {
				return err
			}
		}
		// The entities have it already: nothing of the old name is to be dropped.
		was := *old
		was.Properties, was.Relations = b.Properties, b.Relations
		return c.putBlueprint(tx, m, account, &was, b, by)
	})
	return out, err
}

// renamed is a blueprint's document with one member under another name.
func renamed(b *Blueprint, part, from, to string) (map[string]any, error) {
	keys := map[string][]string{"properties": {"schema", "properties"}, "relations": {"relations"}, "mirror": {"mirrorProperties"}}[part]
	if keys == nil {
		return nil, fail(NotFound, "%q is none of properties, relations and mirror", part)
	}
	if err := checkMember(part, to); err != nil {
		return nil, err
	}
	doc := maps.Clone(b.doc)
	at := doc
	for _, k := range keys {
		inner, _ := at[k].(map[string]any)
		inner = maps.Clone(inner)
		at[k] = inner
		at = inner
	}
	v, there := at[from]
	if !there {
		return nil, fail(NotFound, "The blueprint %q has no %q among its %s", b.Identifier, from, part)
	}
	if _, taken := at[to]; taken {
		return nil, fail(Taken, "The blueprint %q has a %q already", b.Identifier, to)
	}
	delete(at, from)
	at[to] = v
	if schema, ok := doc["schema"].(map[string]any); ok && part == "properties" {
		required := slices.Clone(b.Required)
		if i := slices.Index(required, from); i >= 0 {
			required[i] = to
		}
		list := make([]any, len(required))
		for i, r := range required {
			list[i] = r
		}
		schema["required"] = list
	}
	return doc, nil
}

func (c *Catalog) renameProperty(tx *sqldb.Tx, account arn.Account, b *Blueprint, from, to string) error {
	if err := dropValues(tx, account, b.Identifier, from); err != nil {
		return err
	}
	return eachEntity(tx, account, b.Identifier, func(e *row) error {
		v, there := e.properties[from]
		if !there {
			return nil
		}
		delete(e.properties, from)
		e.properties[to] = v
		if err := updateEntity(tx, account, e.k, e); err != nil {
			return err
		}
		var rows []valueRow
		for _, r := range indexRows(b, e) {
			if r.property == to {
				rows = append(rows, r)
			}
		}
		return insertValues(tx, account, b.Identifier, e.k, rows)
	})
}
