package catalog

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/berth-registry/berth/catalog/query"
)

// derive fills in mirror, aggregation and calculation properties, in this order.
func (v *viewer) derive(b *Blueprint, list []*Entity) error {
	if len(list) == 0 {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(b.Mirrors)) {
		if err := v.mirror(id, b.Mirrors[id], list); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Aggregations)) {
		for _, e := range list {
			n, err := v.aggregate(b.Aggregations[id], e)
			if err != nil {
				return err
			}
			e.Properties[id] = n
		}
	}
	if len(b.Calculations) > 0 {
		v.calculate(b, list)
	}
	return nil
}

// mirror follows a path from all entities at once.
func (v *viewer) mirror(id string, mirror *Mirror, list []*Entity) error {
	at := make([][]Ref, len(list)) // where each entity's path has come to
	hops, last := mirror.Path[:len(mirror.Path)-1], mirror.Path[len(mirror.Path)-1]
	for i, e := range list {
		at[i] = []Ref{{e.Blueprint, e.row.k}}
	}
	many := false
	for _, hop := range hops {
		next := map[Ref][]Ref{}
		edges, err := v.outgoing(slices.Concat(at...))
		if err != nil {
			return err
		}
		for _, e := range edges {
			if e.relation == hop {
				next[e.from] = append(next[e.from], e.to)
			}
			if b := v.m.blueprints[e.from.Blueprint]; b != nil && b.Relations[hop] != nil && b.Relations[hop].Many {
				many = true
			}
		}
		for i := range at {
			var to []Ref
			for _, from := range at[i] {
				to = append(to, next[from]...)
			}
			at[i] = to
		}
	}
	found := map[Ref]*Entity{}
	for blueprint, keys := range groups(slices.Concat(at...)) {
		rows, err := readEntities(v.read, v.account, blueprint, keys, "")
		if err != nil {
			return err
		}
		there, err := v.entities(v.m.blueprints[blueprint], rows, View{Plain: true})
		if err != nil {
			return err
		}
		for _, e := range there {
			found[Ref{blueprint, e.row.k}] = e
		}
	}
	for i, e := range list {
		var values []any
		for _, ref := range at[i] {
			if target := found[ref]; target != nil {
				values = append(values, target.property(last))
			}
		}
		e.Properties[id] = mirrored(values, many || v.manyPath(e.Blueprint, hops))
	}
	return nil
}

// manyPath reports whether a path goes through a relation to many.
func (v *viewer) manyPath(blueprint string, hops []string) bool {
	for _, hop := range hops {
		b := v.m.blueprints[blueprint]
		if b == nil || b.Relations[hop] == nil {
			return false
		}
		if b.Relations[hop].Many {
			return true
		}
		blueprint = b.Relations[hop].Target
	}
	return false
}

func mirrored(values []any, many bool) any {
	if !many {
		if len(values) == 0 {
			return nil
		}
		return values[0]
	}
	out := []any{}
	for _, v := range values {
		switch v := v.(type) {
		case nil:
		case []any:
			out = append(out, v...)
		default:
			out = append(out, v)
		}
	}
	return out
}

// aggregate computes over an entity's related entities.
func (v *viewer) aggregate(a *Aggregation, e *Entity) (any, error) {
	self := []Ref{{e.Blueprint, e.row.k}}
	set := map[Ref]bool{}
	if len(a.Path) > 0 {
		hops := make([]query.Hop, len(a.Path))
		for i, p := range a.Path {
			hops[i] = query.Hop{Relation: p, MaxHops: 1}
		}
		list, err := v.along(self, hops, a.From == "" || a.From == e.Blueprint && a.From != a.Target)
		if err != nil {
			return nil, err
		}
		for _, ref := range list {
			set[ref] = true
		}
	} else {
		for _, up := range []bool{true, false} {
			part, err := v.reach(self, up, nil)
			if err != nil {
				return nil, err
			}
			maps.Copy(set, part)
		}
	}
	var keys []string
	for ref := range set {
		if ref.Blueprint == a.Target {
			keys = append(keys, ref.Identifier)
		}
	}
	if a.Func == "count" && a.Query == nil {
		return float64(len(keys)), nil
	}
	rows, err := readEntities(v.read, v.account, a.Target, keys, "")
	if err != nil {
		return nil, err
	}
	targets, err := v.entities(v.m.blueprints[a.Target], rows, View{Plain: true})
	if err != nil {
		return nil, err
	}
	if a.Query != nil {
		if g, err := query.FromValue(a.Query); err == nil {
			match := query.Matcher{Now: v.c.now()}
			targets = slices.DeleteFunc(targets, func(t *Entity) bool { return !match.Match(g, &subject{e: t, b: v.m.blueprints[a.Target]}) })
		}
	}
	return a.compute(targets, v.c.now()), nil
}

func (a *Aggregation) compute(targets []*Entity, now time.Time) any {
	var numbers []float64
	sum, oldest := 0.0, now
	for _, t := range targets {
		if at, ok := t.property(a.Measure).(string); ok {
			if when, ok := query.Date(at); ok && when.Before(oldest) {
				oldest = when
			}
		}
		if n, ok := t.property(a.Property).(float64); ok {
			numbers = append(numbers, n)
			sum += n
		}
	}
	per := func(total float64) any {
		span := map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour}[a.Of]
		if span == 0 {
			return total / float64(max(len(targets), 1))
		}
		return total / max(float64(now.Sub(oldest))/float64(span), 1)
	}
	sort.Float64s(numbers)
	switch {
	case a.Func == "count":
		return float64(len(targets))
	case a.Func == "average" && a.By == "entities":
		return per(float64(len(targets)))
	case len(numbers) == 0:
		return nil
	case a.Func == "sum":
		return sum
	case a.Func == "min":
		return numbers[0]
	case a.Func == "max":
		return numbers[len(numbers)-1]
	case a.Func == "median":
		if n := len(numbers); n%2 == 0 {
			return (numbers[n/2-1] + numbers[n/2]) / 2
		}
		return numbers[len(numbers)/2]
	}
	return per(sum)
}

// results keeps what calculations came to, by what went in: an entity that did not
// change is not calculated again.
type results struct {
	mu   sync.Mutex
	have map[[sha256.Size]byte]map[string]any
}

const maxResults = 20_000

func newResults() results { return results{have: map[[sha256.Size]byte]map[string]any{}} }

func (s *results) get(k [sha256.Size]byte) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.have[k]
	return v, ok
}

func (s *results) put(k [sha256.Size]byte, v map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.have) >= maxResults {
		clear(s.have)
	}
	s.have[k] = v
}

// calculate evaluates calculation properties; what fails or is of another type is null.
func (v *viewer) calculate(b *Blueprint, list []*Entity) {
	texts := map[string]string{}
	for id, calc := range b.Calculations {
		texts[id] = calc.Text
	}
	for _, e := range list {
		doc := e.JSON()
		delete(doc, "scorecards")
		got := v.c.calculated(v, texts, doc)
		for id, calc := range b.Calculations {
			if e.Properties[id] = got[id]; !ofType(calc.Type, got[id]) {
				e.Properties[id] = nil
			}
		}
	}
}

func (c *Catalog) calculated(v *viewer, texts map[string]string, doc map[string]any) map[string]any {
	if c.calc == nil {
		return nil
	}
	in, err := json.Marshal([]any{texts, doc})
	if err != nil {
		return nil
	}
	k := sha256.Sum256(in)
	if got, ok := c.results.get(k); ok {
		return got
	}
	got, err := c.calc.Calculate(v.ctx, texts, doc)
	if err != nil {
		c.log.Warn("calculation properties", "blueprint", doc["blueprint"], "entity", doc["identifier"], "error", err)
		return nil
	}
	c.results.put(k, got)
	return got
}

func ofType(kind string, v any) bool {
	ok := true
	switch kind {
	case "string":
		_, ok = v.(string)
	case "number":
		_, ok = v.(float64)
	case "boolean":
		_, ok = v.(bool)
	case "object":
		_, ok = v.(map[string]any)
	case "array":
		_, ok = v.([]any)
	}
	return ok
}
