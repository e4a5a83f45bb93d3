package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
)

// Entity is an entity as readers see it: every property of its blueprint, null when it is
// unset, and its relations by identifiers.
type Entity struct {
	Blueprint, Identifier, Title string
	Icon                         string
	Team                         []string
	Properties                   map[string]any
	// Relations have an identifier or nil, or a list of them.
	Relations            map[string]any
	Titles               map[string]any // the titles of what Relations name, in the same form
	Source               string         // $datasource
	CreatedAt, UpdatedAt time.Time
	CreatedBy, UpdatedBy string
	Scorecards           map[string]Score

	row   *row
	links []linkRow // the effective ones
}

// View says how much of entities is wanted.
type View struct {
	// Plain leaves mirror, calculation and aggregation properties out.
	Plain bool
	// Scores adds the results of scorecards.
	Scores bool
}

// viewer makes entities of rows.
type viewer struct {
	c       *Catalog
	ctx     context.Context
	read    reader
	account arn.Account
	m       *Model
	sources map[int64]string
}

func (c *Catalog) viewer(ctx context.Context, read reader, account arn.Account, m *Model) *viewer {
	return &viewer{c: c, ctx: ctx, read: read, account: account, m: m}
}

// entities makes entities of rows of one blueprint, in their order.
func (v *viewer) entities(b *Blueprint, rows []*row, view View) ([]*Entity, error) {
	if err := v.nameSources(rows); err != nil {
		return nil, err
	}
	out := make([]*Entity, len(rows))
	by := map[string]*Entity{}
	keys := make([]string, len(rows))
	for i, r := range rows {
		e := &Entity{Blueprint: r.blueprint, Identifier: r.id, Title: r.title, Icon: r.icon, Team: r.team, Properties: map[string]any{}, Relations: map[string]any{},
			Titles: map[string]any{}, Source: v.sources[r.source], CreatedAt: r.createdAt, UpdatedAt: r.updatedAt, CreatedBy: r.createdBy, UpdatedBy: r.updatedBy, row: r}
		if e.Team == nil {
			e.Team = []string{}
		}
		for id := range b.Properties {
			e.Properties[id] = r.properties[id]
		}
		for id, rel := range b.Relations {
			if e.Relations[id], e.Titles[id] = nil, nil; rel.Many {
				e.Relations[id], e.Titles[id] = []any{}, []any{}
			}
		}
		out[i], keys[i], by[r.k] = e, r.k, e
	}
	if len(b.Relations) > 0 && len(rows) > 0 {
		links, err := readLinks(v.read, v.account, b.Identifier, keys)
		if err != nil {
			return nil, err
		}
		for _, l := range effective(links) {
			by[l.k].link(b, l)
		}
	}
	if !view.Plain {
		if err := v.derive(b, out); err != nil {
			return nil, err
		}
	}
	if view.Scores {
		for _, e := range out {
			v.c.score(v.m, b, e)
		}
	}
	return out, nil
}

// nameSources reads the names of the sources of rows that are not known yet.
func (v *viewer) nameSources(rows []*row) error {
	var ids []int64
	for _, r := range rows {
		if _, known := v.sources[r.source]; !known && r.source != 0 && !slices.Contains(ids, r.source) {
			ids = append(ids, r.source)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	some, err := readSources(v.read, v.account, ids...)
	if v.sources == nil {
		v.sources = map[int64]string{}
	}
	maps.Copy(v.sources, some)
	return err
}

// effective picks of each place of a relation the first spelling that names something.
func effective(links []linkRow) []linkRow {
	var out []linkRow
	for _, l := range links {
		if !l.id.Valid {
			continue
		}
		if n := len(out); n > 0 && out[n-1].k == l.k && out[n-1].relation == l.relation && out[n-1].ord == l.ord {
			continue
		}
		out = append(out, l)
	}
	return out
}

func (e *Entity) link(b *Blueprint, l linkRow) {
	r := b.Relations[l.relation]
	if r == nil {
		return
	}
	e.links = append(e.links, l)
	if r.Many {
		names, _ := e.Relations[l.relation].([]any)
		titles, _ := e.Titles[l.relation].([]any)
		if !slices.Contains(names, any(l.id.String)) { // both spellings may come to the same
			e.Relations[l.relation], e.Titles[l.relation] = append(names, l.id.String), append(titles, l.title.String)
		}
		return
	}
	if e.Relations[l.relation] == nil {
		e.Relations[l.relation], e.Titles[l.relation] = l.id.String, l.title.String
	}
}

// meta are the values of meta properties.
func (e *Entity) meta(name string) (any, bool) {
	switch name {
	case "$identifier":
		return e.Identifier, true
	case "$title":
		return e.Title, true
	case "$icon":
		return nilIfEmpty(e.Icon), true
	case "$blueprint":
		return e.Blueprint, true
	case "$team":
		list := make([]any, len(e.Team))
		for i, t := range e.Team {
			list[i] = t
		}
		return list, true
	case "$createdAt":
		return e.CreatedAt, true
	case "$updatedAt":
		return e.UpdatedAt, true
	case "$createdBy":
		return e.CreatedBy, true
	case "$updatedBy":
		return e.UpdatedBy, true
	case "$datasource":
		return nilIfEmpty(e.Source), true
	}
	return nil, false
}

// property is a property's value, of whatever sort.
func (e *Entity) property(name string) any {
	if v, ok := e.meta(name); ok {
		if t, isTime := v.(time.Time); isTime {
			return Moment(t)
		}
		return v
	}
	return e.Properties[name]
}

// JSON is the entity as the API shows it.
func (e *Entity) JSON() map[string]any {
	doc := map[string]any{"identifier": e.Identifier, "title": e.Title, "icon": nilIfEmpty(e.Icon), "blueprint": e.Blueprint, "team": e.Team, "properties": e.Properties,
		"relations": e.Relations, "createdAt": Moment(e.CreatedAt), "createdBy": e.CreatedBy, "updatedAt": Moment(e.UpdatedAt), "updatedBy": e.UpdatedBy}
	if e.Scorecards != nil {
		doc["scorecards"] = e.Scorecards
	}
	return doc
}

// Entity returns one: NotFound.
func (c *Catalog) Entity(ctx context.Context, account arn.Account, blueprint, id string, view View) (*Entity, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	b := m.blueprints[blueprint]
	if b == nil {
		return nil, errNoBlueprint(blueprint)
	}
	read := c.reader(ctx)
	rows, err := readEntities(read, account, blueprint, []string{key(id)}, "")
	if err != nil {
		return nil, storage(err)
	}
	if len(rows) == 0 {
		return nil, errNoEntity(blueprint, id)
	}
	list, err := c.viewer(ctx, read, account, m).entities(b, rows, view)
	if err != nil {
		return nil, storage(err)
	}
	return list[0], nil
}

// Count counts a blueprint's entities: NotFound.
func (c *Catalog) Count(ctx context.Context, account arn.Account, blueprint string) (int64, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return 0, err
	}
	if m.blueprints[blueprint] == nil {
		return 0, errNoBlueprint(blueprint)
	}
	n, err := countEntities(c.reader(ctx), account, blueprint)
	return n, storage(err)
}

// groups puts references together by blueprint, in order.
func groups(refs []Ref) map[string][]string {
	out := map[string][]string{}
	for _, r := range refs {
		out[r.Blueprint] = append(out[r.Blueprint], r.Identifier)
	}
	for b := range maps.Keys(out) {
		slices.Sort(out[b])
		out[b] = slices.Compact(out[b])
	}
	return out
}
