package catalog

import (
	"context"
	"slices"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// Search selects entities.
type Search struct {
	Blueprint string // "" for all
	Query     *query.Group
	View      View
	User      query.User
	After     string // a page token
	Limit     int    // 0 for all, up to MaxFound
}

// MaxFound is how many entities one search returns.
const MaxFound = 100_000

// Found is a page of a search, ordered by blueprint and identifier.
type Found struct {
	Entities []*Entity
	Next     string // the token of the next page, "" at the end
}

// place is how far a search has come.
type place struct {
	Blueprint, Key string
}

// Search finds entities: NotFound (the blueprint), Invalid (the token).
func (c *Catalog) Search(ctx context.Context, account arn.Account, s Search) (*Found, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	list := m.Blueprints()
	if s.Blueprint != "" {
		b := m.blueprints[s.Blueprint]
		if b == nil {
			return nil, errNoBlueprint(s.Blueprint)
		}
		list = []*Blueprint{b}
	}
	var at place
	binding := string(account) + "/search/" + s.Blueprint
	if c.pages.Untoken(binding, s.After, &at) != nil {
		return nil, fail(Invalid, "from: the page token is not of this search")
	}
	limit := s.Limit
	if limit <= 0 || limit > MaxFound {
		limit = MaxFound
	}
	f, err := c.find(ctx, c.reader(ctx), account, m, list, &s, at, limit+1)
	if err != nil {
		return nil, storage(err)
	}
	out := &Found{Entities: f}
	if len(f) > limit {
		out.Entities = f[:limit]
		last := f[limit-1]
		out.Next = c.pages.Token(binding, place{last.Blueprint, last.row.k})
	}
	return out, nil
}

// pageRows is how many rows are read at a time.
const pageRows = 500

// find reads entities in order, after a place, at most limit.
func (c *Catalog) find(ctx context.Context, read reader, account arn.Account, m *Model, list []*Blueprint, s *Search, at place, limit int) ([]*Entity, error) {
	v := c.viewer(ctx, read, account, m)
	q := s.Query
	if q == nil {
		q = &query.Group{}
	}
	w := &narrower{v: v, user: s.User, now: c.now(), sets: map[*query.Rule]map[Ref]bool{}}
	if err := w.prepare(q); err != nil {
		return nil, err
	}
	out := []*Entity{}
	for _, b := range list {
		if b.Identifier < at.Blueprint || !possible(q, b) {
			continue
		}
		after := ""
		if b.Identifier == at.Blueprint {
			after = at.Key
		}
		some, err := w.blueprint(b, q, s.View, after, limit-len(out))
		if err != nil {
			return nil, err
		}
		if out = append(out, some...); len(out) >= limit {
			break
		}
	}
	return out, nil
}

// possible is false when a query's conditions exclude a blueprint.
func possible(q *query.Group, b *Blueprint) bool {
	if q.Or {
		return true
	}
	for _, n := range q.Nodes {
		r := n.Rule
		if r == nil || r.Property != "$blueprint" || r.Negated || r.Context != nil {
			continue
		}
		switch want := r.Value.(type) {
		case string:
			if r.Operator == query.Equal && want != b.Identifier {
				return false
			}
		case []any:
			if r.Operator == query.In && !slices.Contains(want, any(b.Identifier)) {
				return false
			}
		}
	}
	return true
}

// blueprint reads the entities of one blueprint that fit.
func (w *narrower) blueprint(b *Blueprint, q *query.Group, view View, after string, limit int) ([]*Entity, error) {
	sub := w.narrow(b, q)
	match := query.Matcher{Now: w.now, User: w.user}
	early := view
	if !w.derived(b, q) {
		early.Plain = true
	}
	early.Scores = w.scored(q)
	var out []*Entity
	for len(out) < limit {
		rows, err := readPage(w.v.read, w.v.account, b.Identifier, after, sub, min(pageRows, max(limit-len(out), 50)))
		if err != nil {
			return nil, err
		}
		if len(rows) == 0 {
			break
		}
		after = rows[len(rows)-1].k
		list, err := w.v.entities(b, rows, early)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(e *Entity) bool { return !match.Match(q, &subject{e: e, b: b, w: w}) })
		if early != view && len(list) > 0 { // what was not needed to decide
			if !view.Plain && early.Plain {
				if err := w.v.derive(b, list); err != nil {
					return nil, err
				}
			}
			for _, e := range list {
				if e.Scorecards = nil; view.Scores {
					w.v.c.score(w.v.m, b, e)
				}
			}
		}
		out = append(out, list...)
	}
	return out[:min(len(out), limit)], nil
}

// derived reports whether a query asks for derived properties of a blueprint.
func (w *narrower) derived(b *Blueprint, q *query.Group) bool {
	yes := false
	q.Rules(func(r *query.Rule) { yes = yes || b.derived(r.Property) || r.Schema != nil || r.Scorecard != "" })
	return yes
}

func (w *narrower) scored(q *query.Group) bool {
	yes := false
	q.Rules(func(r *query.Rule) { yes = yes || r.Scorecard != "" })
	return yes
}

// subject is an entity as a query asks it.
type subject struct {
	e *Entity
	b *Blueprint
	w *narrower
}

func (s *subject) Value(property string) (any, bool) {
	if v, ok := s.e.meta(property); ok {
		return v, true
	}
	v, ok := s.e.Properties[property]
	return v, ok || s.b.has(property)
}

func (s *subject) Shaped(want *query.Schema) []any {
	var out []any
	for id, p := range s.b.Properties {
		items := want.Items == nil || p.Items != nil && p.Items.Type == want.Items.Type && (want.Items.Format == "" || p.Items.Format == want.Items.Format)
		if p.Type == want.Type && (want.Format == "" || p.Format == want.Format) && items {
			out = append(out, s.e.Properties[id])
		}
	}
	return out
}

func (s *subject) Target(relation, property string) (any, bool) {
	if s.b.Relations[relation] == nil {
		return nil, false
	}
	if property == "$title" {
		return s.e.Titles[relation], true
	}
	return s.e.Relations[relation], true
}

func (s *subject) Score(scorecard, rule string) (any, bool) {
	got, ok := s.e.Scorecards[scorecard]
	if !ok || rule == "" {
		return got.Level, ok
	}
	for _, r := range got.Rules {
		if r.Identifier == rule {
			return r.Status, true
		}
	}
	return nil, false
}

func (s *subject) Related(r *query.Rule) bool {
	return s.w != nil && s.w.sets[r][Ref{s.e.Blueprint, s.e.row.k}]
}

// lookup finds the identifiers of entities of a blueprint by a query, within a
// transaction.
func (c *Catalog) lookup(tx *sqldb.Tx, m *Model, account arn.Account, blueprint string, q any, most int) ([]string, error) {
	g, err := query.FromValue(q)
	if err != nil {
		return nil, fail(Invalid, "%v", err)
	}
	b := m.blueprints[blueprint]
	if b == nil {
		return nil, errNoBlueprint(blueprint)
	}
	list, err := c.find(context.Background(), tx.Query, account, m, []*Blueprint{b}, &Search{Query: g, View: View{Plain: true}}, place{}, most)
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = e.Identifier
	}
	return out, err
}
