package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// maxReach bounds how many entities a walk through relations comes to.
const maxReach = 100_000

// edge is a relation between two entities, by keys.
type edge struct {
	from, to Ref
	relation string
}

// outgoing are the effective relations of entities.
func (v *viewer) outgoing(of []Ref) ([]edge, error) {
	var out []edge
	for blueprint, keys := range groups(of) {
		links, err := readLinks(v.read, v.account, blueprint, keys)
		if err != nil {
			return nil, err
		}
		for _, l := range effective(links) {
			out = append(out, edge{Ref{blueprint, l.k}, Ref{l.targetBlueprint, l.target}, l.relation})
		}
	}
	return out, nil
}

// incoming are the effective relations to entities.
func (v *viewer) incoming(of []Ref) ([]edge, error) {
	var out []edge
	for blueprint, keys := range groups(of) {
		list, err := readIncoming(v.read, v.account, blueprint, keys)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// readIncoming are relations to entities of a blueprint, by their first spelling, or by
// the second while there is no entity of the first.
func readIncoming(read reader, a arn.Account, blueprint string, keys []string) ([]edge, error) {
	var out []edge
	for len(keys) > 0 {
		n := min(len(keys), chunk)
		list, err := readDependents(read, a, blueprint, keys[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		keys = keys[n:]
	}
	return out, nil
}

// reach walks from entities along all relations in one direction, or those that take is
// true for, and returns what it comes to, without the entities it began at.
func (v *viewer) reach(from []Ref, up bool, take func(edge) bool) (map[Ref]bool, error) {
	seen := map[Ref]bool{}
	begin := map[Ref]bool{}
	for _, r := range from {
		begin[r] = true
	}
	for frontier := from; len(frontier) > 0 && len(seen) < maxReach; {
		step := v.incoming
		if up {
			step = v.outgoing
		}
		edges, err := step(frontier)
		if err != nil {
			return nil, err
		}
		frontier = nil
		for _, e := range edges {
			next := e.from
			if up {
				next = e.to
			}
			if (take == nil || take(e)) && !seen[next] && !begin[next] {
				seen[next] = true
				frontier = append(frontier, next)
			}
		}
	}
	return seen, nil
}

// along follows a path of relations from entities, forwards, or backwards from its end.
func (v *viewer) along(from []Ref, path []query.Hop, forwards bool) ([]Ref, error) {
	hops := slices.Clone(path)
	if !forwards {
		slices.Reverse(hops)
	}
	for _, hop := range hops {
		step := v.incoming
		if forwards {
			step = v.outgoing
		}
		all := map[Ref]bool{}
		for n := 0; n < hop.MaxHops && len(from) > 0; n++ {
			edges, err := step(from)
			if err != nil {
				return nil, err
			}
			from = nil
			for _, e := range edges {
				next := e.from
				if forwards {
					next = e.to
				}
				if e.relation == hop.Relation && !all[next] && len(all) < maxReach {
					all[next] = true
					from = append(from, next)
				}
			}
		}
		from = from[:0:0]
		for r := range all {
			from = append(from, r)
		}
	}
	return from, nil
}

// related computes the entities that fit a rule about relations.
func (v *viewer) related(r *query.Rule) (map[Ref]bool, error) {
	var from []Ref
	if r.Operator == query.MatchAny {
		return v.matchAny(r)
	}
	for _, n := range r.Names {
		from = append(from, Ref{r.Blueprint, key(n)})
	}
	var take func(edge) bool
	if r.Required != nil {
		take = func(e edge) bool {
			b := v.m.blueprints[e.from.Blueprint]
			return b != nil && b.Relations[e.relation] != nil && b.Relations[e.relation].Required == *r.Required
		}
	}
	out := map[Ref]bool{}
	for _, up := range []bool{true, false} {
		if r.Direction == "upstream" && !up || r.Direction == "downstream" && up {
			continue
		}
		set, err := v.reach(from, up, take)
		if err != nil {
			return nil, err
		}
		for ref := range set {
			out[ref] = true
		}
	}
	return out, nil
}

// matchAny are the entities from which a path leads to one of those named, or to which a
// path leads from them.
func (v *viewer) matchAny(r *query.Rule) (map[Ref]bool, error) {
	starts := map[string]bool{}
	forwards := r.From != ""
	if forwards {
		starts[r.From] = true
	} else { // where the path may end: the targets of its last relation
		for _, b := range v.m.Blueprints() {
			if rel := b.Relations[r.Path[len(r.Path)-1].Relation]; rel != nil {
				starts[rel.Target] = true
			}
		}
	}
	out := map[Ref]bool{}
	for blueprint := range starts {
		var from []Ref
		for _, n := range r.Names {
			from = append(from, Ref{blueprint, key(n)})
		}
		list, err := v.along(from, r.Path, forwards)
		if err != nil {
			return nil, err
		}
		for _, ref := range list {
			out[ref] = true
		}
	}
	return out, nil
}

// readDependents are the relations to entities that are there, from entities that are, in
// order. The database is not asked for the order: it would read all relations for it.
func readDependents(read reader, a arn.Account, blueprint string, keys []string) ([]edge, error) {
	text, args := dependentsText(a, blueprint, keys)
	rows, err := read(text, args...)
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (edge, error) {
		e := edge{to: Ref{Blueprint: blueprint}}
		return e, scan(&e.from.Blueprint, &e.from.Identifier, &e.relation, &e.to.Identifier)
	})
	slices.SortFunc(list, func(a, b edge) int {
		return cmp.Or(strings.Compare(a.from.Blueprint, b.from.Blueprint), strings.Compare(a.relation, b.relation), strings.Compare(a.from.Identifier, b.from.Identifier))
	})
	return list, err
}
