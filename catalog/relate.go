package catalog

import (
	"maps"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// maxLinks bounds how many entities one relation names.
const maxLinks = 10_000

// linksOf reads what one entity names, as it was written.
func linksOf(read reader, account arn.Account, blueprint, k string) (map[string][]link, error) {
	rows, err := readLinks(read, account, blueprint, []string{k})
	if err != nil {
		return nil, err
	}
	out := map[string][]link{}
	for _, r := range rows {
		list := out[r.relation]
		if r.rank > 0 && len(list) > 0 {
			list[len(list)-1].alt = r.target
			continue
		}
		out[r.relation] = append(list, link{target: r.target, kept: r.kept})
	}
	return out, nil
}

// relate makes the links that an entity is to have.
func (c *Catalog) relate(tx *sqldb.Tx, m *Model, b *Blueprint, account arn.Account, p *Put, have map[string][]link) (map[string][]link, error) {
	want := map[string][]link{}
	if p.Mode == Merge {
		maps.Copy(want, have)
	}
	for _, id := range slices.Sorted(maps.Keys(p.links)) {
		if want[id] = p.links[id]; len(p.links[id]) == 0 {
			delete(want, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Relations)) {
		r := b.Relations[id]
		if r == nil {
			return nil, fail(Invalid, "relations.%s: blueprint %q has no such relation", id, b.Identifier)
		}
		names, err := c.named(tx, m, account, id, r, p.Relations[id])
		if err != nil {
			return nil, err
		}
		if err := c.mustExist(tx, m, account, id, r, names, p); err != nil {
			return nil, err
		}
		delete(want, id)
		for _, n := range names {
			want[id] = append(want[id], link{target: key(n)})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Relations)) {
		if b.Relations[id].Required && len(want[id]) == 0 {
			return nil, fail(Invalid, "relations.%s is required by blueprint %q", id, b.Identifier)
		}
	}
	return want, nil
}

// named are the identifiers that a relation's value means.
func (c *Catalog) named(tx *sqldb.Tx, m *Model, account arn.Account, id string, r *Relation, v any) ([]string, error) {
	if query.Is(v) {
		most := 1
		if r.Many {
			most = 100
		}
		return c.lookup(tx, m, account, r.Target, v, most)
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		if !r.Many && len(v) > 1 {
			return nil, fail(Invalid, "relations.%s must be one identifier, not a list", id)
		}
		var out []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fail(Invalid, "relations.%s must have identifiers, not %s", id, preview(item))
			}
			if s != "" && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		if len(out) > maxLinks {
			return nil, fail(LimitExceeded, "relations.%s names more than %d entities", id, maxLinks)
		}
		return out, nil
	}
	return nil, fail(Invalid, "relations.%s must be an identifier or a list of them, not %s", id, preview(v))
}

// mustExist finds what a relation names, or makes it when it may: TargetMissing.
func (c *Catalog) mustExist(tx *sqldb.Tx, m *Model, account arn.Account, id string, r *Relation, names []string, p *Put) error {
	if len(names) == 0 {
		return nil
	}
	keys := make([]string, len(names))
	for i, n := range names {
		keys[i] = key(n)
	}
	list, err := readEntities(tx.Query, account, r.Target, keys, "{forshare}")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range list {
		there[e.k] = true
	}
	for i, n := range names {
		if there[keys[i]] || r.Target == p.Blueprint && n == p.Identifier {
			continue
		}
		if !p.CreateMissing {
			return &Error{Code: TargetMissing, missing: Ref{r.Target, n},
				Message: "There is no entity " + preview(n) + " of blueprint " + preview(r.Target) + ", which relation " + preview(id) + " names"}
		}
		if err := c.createMissing(tx, m, account, r.Target, n, p.By); err != nil {
			return err
		}
		there[keys[i]] = true
	}
	return nil
}

// createMissing makes an entity of nothing but its identifier.
func (c *Catalog) createMissing(tx *sqldb.Tx, m *Model, account arn.Account, blueprint, id string, by Actor) error {
	if slices.Contains(SystemBlueprints(), blueprint) {
		return &Error{Code: TargetMissing, missing: Ref{blueprint, id}, Message: "Entities of " + preview(blueprint) + " are not created on the way, and there is none " + preview(id)}
	}
	by.Source = "" // it is nobody's to clear away
	_, err := c.put(tx, m, account, &Put{Blueprint: blueprint, Identifier: id, Mode: Merge, By: by})
	return err
}

// saveLinks writes the relations that changed.
func saveLinks(tx *sqldb.Tx, account arn.Account, b *Blueprint, k string, have, want map[string][]link) error {
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if !slices.Equal(have[id], want[id]) {
			if err := deleteLinks(tx, account, b.Identifier, k, id); err != nil {
				return err
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if slices.Equal(have[id], want[id]) {
			continue
		}
		for i, l := range want[id] {
			r := linkRow{k: k, relation: id, ord: int64(i), targetBlueprint: b.Relations[id].Target, target: l.target, kept: l.kept}
			if err := insertLink(tx, account, b.Identifier, r); err != nil {
				return err
			}
			if l.alt == "" {
				continue
			}
			r.rank, r.target = 1, l.alt
			if err := insertLink(tx, account, b.Identifier, r); err != nil {
				return err
			}
		}
	}
	return nil
}
