package catalog

import (
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// narrower makes of a query SQL that selects the keys of entities that may fit: all that
// do and, since the index shortens values, sometimes others. Matching decides.
type narrower struct {
	v    *viewer
	user query.User
	now  time.Time
	sets map[*query.Rule]map[Ref]bool // what rules about relations come to
}

// maxSet is how many keys of a set stand in a statement.
const maxSet = 2000

// prepare computes the sets of rules about relations.
func (w *narrower) prepare(q *query.Group) error {
	var err error
	q.Rules(func(r *query.Rule) {
		if err == nil && (r.Operator == query.RelatedTo || r.Operator == query.MatchAny) {
			w.sets[r], err = w.v.related(r)
		}
	})
	return err
}

// narrow returns nil when all of the blueprint's entities may fit.
func (w *narrower) narrow(b *Blueprint, q *query.Group) *selection {
	var parts []*selection
	for _, n := range q.Nodes {
		var part *selection
		if n.Rule != nil {
			part = w.rule(b, n.Rule)
		} else {
			part = w.narrow(b, n.Group)
		}
		if part == nil && q.Or {
			return nil
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	switch {
	case len(parts) == 0 && q.Or:
		return &selection{text: nobody}
	case len(parts) == 0:
		return nil
	case q.Or:
		return join(parts, " union ")
	}
	return join(parts[:min(len(parts), 3)], " intersect ")
}

// rule narrows by one condition; nil when it cannot.
func (w *narrower) rule(b *Blueprint, r *query.Rule) *selection {
	if set, ok := w.sets[r]; ok && !r.Negated {
		var keys []string
		for ref := range set {
			if ref.Blueprint == b.Identifier {
				keys = append(keys, ref.Identifier)
			}
		}
		if len(keys) > maxSet {
			return nil
		}
		slices.Sort(keys)
		return byKeys(w.v.account, b.Identifier, keys)
	}
	if r.Negated || r.Schema != nil || r.Scorecard != "" || r.Context != nil {
		return nil
	}
	if r.Relation != "" {
		return w.relation(b, r)
	}
	switch r.Property {
	case "$identifier":
		if list, ok := texts(r); ok {
			for i := range list {
				list[i] = key(list[i])
			}
			return byKeys(w.v.account, b.Identifier, list)
		}
		return w.text(b, r, "id")
	case "$title":
		return w.text(b, r, "title")
	case "$datasource":
		return w.source(b, r)
	case "$team":
		return w.values(b, r, sortText, true)
	}
	p := b.Properties[r.Property]
	switch {
	case p != nil && p.index() != "":
		return w.values(b, r, p.index(), p.Type == "array")
	case p == nil && !b.has(r.Property):
		return &selection{text: nobody} // a property that is not there fits nothing that does not deny it
	}
	return nil
}

// maxPattern is the longest text, in bytes, that is looked for in a column.
const maxPattern = 1000

// text narrows by a part of a column. Engines differ in whether case counts there; matching
// decides.
func (w *narrower) text(b *Blueprint, r *query.Rule, column string) *selection {
	part, ok := r.Value.(string)
	if !ok || part == "" || len(part) > maxPattern {
		return nil
	}
	pattern := sqldb.Literal(part)
	switch r.Operator {
	case query.Contains:
		pattern = "%" + pattern + "%"
	case query.BeginsWith:
		pattern += "%"
	case query.EndsWith:
		pattern = "%" + pattern
	default:
		return nil
	}
	return byPattern(w.v.account, b.Identifier, column, pattern)
}

// texts are the values of a rule that compares with texts for equality.
func texts(r *query.Rule) ([]string, bool) {
	switch v := r.Value.(type) {
	case string:
		return []string{v}, r.Operator == query.Equal
	case []any:
		var out []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, r.Operator == query.In || r.Operator == query.ContainsAny
	}
	return nil, false
}

func (w *narrower) relation(b *Blueprint, r *query.Rule) *selection {
	list, ok := texts(r)
	rel := b.Relations[r.Relation]
	if !ok || rel == nil || r.TargetProperty != "$identifier" || len(list) > maxSet {
		return nil
	}
	for i := range list {
		list[i] = key(list[i])
	}
	return byTargets(w.v.account, b.Identifier, r.Relation, rel.Target, list)
}

// source narrows by the name of a source, of which there are few.
func (w *narrower) source(b *Blueprint, r *query.Rule) *selection {
	all, err := readSources(w.v.read, w.v.account)
	if err != nil {
		return nil // matching decides
	}
	match := query.Matcher{Now: w.now}
	one := &query.Group{Nodes: []query.Node{{Rule: r}}}
	var ids []int64
	for id, name := range all {
		if match.Match(one, sourceSubject(name)) {
			ids = append(ids, id)
		}
	}
	if r.Operator == query.IsEmpty || r.Value == nil {
		return nil
	}
	slices.Sort(ids)
	return bySources(w.v.account, b.Identifier, ids)
}

// sourceSubject is a source's name, asked for $datasource.
type sourceSubject string

func (s sourceSubject) Value(string) (any, bool)          { return string(s), true }
func (s sourceSubject) Shaped(*query.Schema) []any        { return nil }
func (s sourceSubject) Target(string, string) (any, bool) { return nil, false }
func (s sourceSubject) Score(string, string) (any, bool)  { return nil, false }
func (s sourceSubject) Related(*query.Rule) bool          { return false }

// values narrows by the index of values.
func (w *narrower) values(b *Blueprint, r *query.Rule, sort string, list bool) *selection {
	exact := func(items []any) *selection {
		if len(items) > maxSet {
			return nil
		}
		want := []string{unindexed}
		for _, item := range items {
			s, isText := item.(string)
			if _, isDate := query.Date(s); isText && isDate && sort == sortText {
				return nil // it equals the same time in other words
			}
			if v, ok := encode(sort, item); ok {
				want = append(want, v)
			}
		}
		return byValues(w.v.account, b.Identifier, r.Property, want)
	}
	span := func(from, to string) *selection { return bySpan(w.v.account, b.Identifier, r.Property, from, to) }
	switch r.Operator {
	case query.Equal:
		if r.Value == nil || list {
			return nil
		}
		if from, to, ok := (query.Matcher{Now: w.now}).Span(r.Value); ok {
			return w.between(b, r, sort, from, to)
		}
		return exact([]any{r.Value})
	case query.In, query.ContainsAny:
		if items, ok := r.Value.([]any); ok {
			return exact(items)
		}
	case query.Contains:
		if list {
			return exact([]any{r.Value})
		}
	case query.BeginsWith:
		if s, ok := r.Value.(string); ok && sort == sortText && !list {
			begin := sortText + cut(s, maxValue)
			return span(begin, begin+"\U0010FFFF")
		}
	case query.Greater, query.GreaterOrEqual, query.Less, query.LessOrEqual:
		v, ok := encode(sort, r.Value)
		if !ok || !strings.HasPrefix(v, sort) || sort != sortTime && sort != sortNumber || list {
			return nil
		}
		if r.Operator == query.Greater || r.Operator == query.GreaterOrEqual {
			return span(v, sort+"~")
		}
		return span(sort, v)
	case query.Between:
		if from, to, ok := (query.Matcher{Now: w.now}).Span(r.Value); ok && !list {
			return w.between(b, r, sort, from, to)
		}
	}
	return nil
}

func (w *narrower) between(b *Blueprint, r *query.Rule, sort string, from, to any) *selection {
	if sort != sortTime && sort != sortNumber {
		return nil
	}
	first, ok := encode(sort, from)
	last, ok2 := encode(sort, to)
	if !ok || !ok2 || !strings.HasPrefix(first, sort) || !strings.HasPrefix(last, sort) {
		return nil
	}
	return bySpan(w.v.account, b.Identifier, r.Property, first, last)
}
