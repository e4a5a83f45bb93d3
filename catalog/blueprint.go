package catalog

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Blueprint is a kind of entity: what it has and what it is related to.
type Blueprint struct {
	Identifier, Title    string
	Properties           map[string]*Property
	Required             []string
	Relations            map[string]*Relation
	Mirrors              map[string]*Mirror
	Calculations         map[string]*Calculation
	Aggregations         map[string]*Aggregation
	CreatedAt, UpdatedAt time.Time
	CreatedBy, UpdatedBy string
	Shipped              bool // Berth's own, untouched
	doc                  map[string]any
}

// Relation is what a blueprint's entities name of another's.
type Relation struct {
	Title    string
	Target   string
	Required bool
	Many     bool
}

// Mirror shows a property of a related entity.
type Mirror struct {
	Path []string // relations, then a property
}

// Calculation is a property that jq makes of the others.
type Calculation struct {
	Text, Type, Format string
}

// Aggregation counts or computes over related entities.
type Aggregation struct {
	Target   string
	Func     string // count, sum, min, max, median, average
	By       string // entities or property
	Property string
	Of       string // averageOf
	Measure  string // measureTimeBy
	Query    any
	Path     []string // pathFilter
	From     string   // its blueprint
}

// Limits of a model.
const (
	maxBlueprints = 500
	maxMembers    = 500 // of each sort, in a blueprint
	maxIdentifier = 100
)

var (
	blueprintID = regexp.MustCompile(`^[A-Za-z0-9@_.+:\\/=-]+$`)
	memberID    = regexp.MustCompile(`^[A-Za-z0-9@_=-]+$`)
)

// SystemBlueprints cannot be deleted and are never filled on the way.
func SystemBlueprints() []string { return []string{"_team", "_user"} }

// meta are the fields of a blueprint's document that are not the caller's.
//
//nolint:gochecknoglobals // a table
var meta = []string{"createdAt", "createdBy", "updatedAt", "updatedBy", "id", "_id"}

// readBlueprint reads a document and completes it. Where it refers to other blueprints is
// for checkReferences.
func readBlueprint(doc map[string]any) (*Blueprint, error) {
	doc = maps.Clone(doc)
	for _, k := range meta {
		delete(doc, k)
	}
	b := &Blueprint{doc: doc, Properties: map[string]*Property{}, Relations: map[string]*Relation{}, Mirrors: map[string]*Mirror{},
		Calculations: map[string]*Calculation{}, Aggregations: map[string]*Aggregation{}}
	b.Identifier, _ = doc["identifier"].(string)
	b.Title, _ = doc["title"].(string)
	switch {
	case !blueprintID.MatchString(b.Identifier) || len(b.Identifier) > maxIdentifier || b.Identifier == "." || b.Identifier == "..":
		return nil, fail(Invalid, "identifier must have 1 to %d characters of A-Z, a-z, 0-9 and @ _ . + : \\ / = -, not %s", maxIdentifier, preview(doc["identifier"]))
	case b.Title == "" || utf8.RuneCountInString(b.Title) > 100:
		return nil, fail(Invalid, "title must have 1 to 100 characters")
	}
	if d, ok := doc["description"].(string); ok && utf8.RuneCountInString(d) > 200 {
		return nil, fail(Invalid, "description must have at most 200 characters")
	}
	if err := b.readSchema(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		key  string
		read func(id string, m map[string]any) error
	}{{"relations", b.readRelation}, {"mirrorProperties", b.readMirror}, {"calculationProperties", b.readCalculation}, {"aggregationProperties", b.readAggregation}} {
		members, err := object(doc, part.key)
		if err != nil {
			return nil, err
		}
		if len(members) > maxMembers {
			return nil, fail(LimitExceeded, "%s has more than %d members", part.key, maxMembers)
		}
		for _, id := range slices.Sorted(maps.Keys(members)) {
			m, ok := members[id].(map[string]any)
			if !ok {
				return nil, fail(Invalid, "%s.%s must be an object", part.key, id)
			}
			if err := checkMember(part.key, id); err != nil {
				return nil, err
			}
			if err := part.read(id, m); err != nil {
				return nil, err
			}
		}
		doc[part.key] = members
	}
	return b, b.checkNames()
}

func object(doc map[string]any, key string) (map[string]any, error) {
	switch v := doc[key].(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return maps.Clone(v), nil
	}
	return nil, fail(Invalid, "%s must be an object", key)
}

func checkMember(where, id string) error {
	if !memberID.MatchString(id) || len(id) > maxIdentifier {
		return fail(Invalid, "%s: %.150q is no name: 1 to %d characters of A-Z, a-z, 0-9 and @ _ = -", where, id, maxIdentifier)
	}
	return nil
}

func (b *Blueprint) readSchema() error {
	schema, ok := b.doc["schema"].(map[string]any)
	if !ok {
		return fail(Invalid, "schema must be an object with properties")
	}
	schema = maps.Clone(schema)
	b.doc["schema"] = schema
	properties, err := object(schema, "properties")
	if err != nil {
		return err
	}
	if len(properties) > maxMembers {
		return fail(LimitExceeded, "schema.properties has more than %d members", maxMembers)
	}
	schema["properties"] = properties
	for _, id := range slices.Sorted(maps.Keys(properties)) {
		if err := checkMember("schema.properties", id); err != nil {
			return err
		}
		if b.Properties[id], err = readProperty("schema.properties."+id, properties[id]); err != nil {
			return err
		}
	}
	b.Required = []string{}
	if list, ok := schema["required"].([]any); ok {
		for _, item := range list {
			name, _ := item.(string)
			if b.Properties[name] == nil {
				return fail(Invalid, "schema.required names %s, which is no property", preview(item))
			}
			b.Required = append(b.Required, name)
		}
	} else if schema["required"] != nil {
		return fail(Invalid, "schema.required must be a list of properties")
	}
	required := make([]any, len(b.Required))
	for i, name := range b.Required {
		required[i] = name
	}
	schema["required"] = required
	return nil
}

func (b *Blueprint) readRelation(id string, m map[string]any) error {
	r := &Relation{}
	r.Title, _ = m["title"].(string)
	r.Target, _ = m["target"].(string)
	r.Required, _ = m["required"].(bool)
	r.Many, _ = m["many"].(bool)
	switch {
	case r.Target == "":
		return fail(Invalid, "relations.%s.target must name a blueprint", id)
	case r.Required && r.Many:
		return fail(Invalid, "relations.%s cannot be many and required", id)
	}
	m["required"], m["many"] = r.Required, r.Many
	b.Relations[id] = r
	return nil
}

func (b *Blueprint) readMirror(id string, m map[string]any) error {
	path, _ := m["path"].(string)
	parts := strings.Split(path, ".")
	if len(parts) < 2 || slices.Contains(parts, "") {
		return fail(Invalid, "mirrorProperties.%s.path must be relations and a property, joined by dots", id)
	}
	b.Mirrors[id] = &Mirror{Path: parts}
	return nil
}

func (b *Blueprint) readCalculation(id string, m map[string]any) error {
	c := &Calculation{}
	c.Text, _ = m["calculation"].(string)
	c.Type, _ = m["type"].(string)
	c.Format, _ = m["format"].(string)
	if c.Text == "" || len(c.Text) > 8<<10 {
		return fail(Invalid, "calculationProperties.%s.calculation must be a jq expression of at most 8192 bytes", id)
	}
	if _, ok := formats[c.Type]; !ok {
		return fail(Invalid, "calculationProperties.%s.type must be string, number, boolean, object or array", id)
	}
	b.Calculations[id] = c
	return nil
}

func (b *Blueprint) readAggregation(id string, m map[string]any) error {
	where := "aggregationProperties." + id
	spec, ok := m["calculationSpec"].(map[string]any)
	if !ok {
		return fail(Invalid, "%s.calculationSpec must be an object", where)
	}
	text := func(key string) string { s, _ := spec[key].(string); return s }
	a := &Aggregation{Func: text("func"), By: text("calculationBy"), Property: text("property"), Of: text("averageOf"), Measure: text("measureTimeBy"), Query: m["query"]}
	a.Target, _ = m["target"].(string)
	if a.Measure == "" {
		a.Measure = "$createdAt"
	}
	byEntities := a.By == "entities" && (a.Func == "count" || a.Func == "average")
	byProperty := a.By == "property" && a.Property != "" && slices.Contains([]string{"sum", "min", "max", "median", "average"}, a.Func)
	switch {
	case a.Target == "":
		return fail(Invalid, "%s.target must name a blueprint", where)
	case !byEntities && !byProperty:
		return fail(Invalid, "%s.calculationSpec: func %q by %q is not known", where, a.Func, a.By)
	case a.Func == "average" && !slices.Contains([]string{"hour", "day", "week", "month", "total"}, a.Of):
		return fail(Invalid, "%s.calculationSpec.averageOf must be hour, day, week, month or total", where)
	}
	if list, ok := m["pathFilter"].([]any); ok && len(list) > 0 {
		f, _ := list[0].(map[string]any)
		path, _ := f["path"].([]any)
		for _, p := range path {
			s, _ := p.(string)
			a.Path = append(a.Path, s)
		}
		a.From, _ = f["fromBlueprint"].(string)
		if len(list) > 1 || len(a.Path) == 0 || slices.Contains(a.Path, "") {
			return fail(Invalid, "%s.pathFilter must have one path of relations", where)
		}
	}
	b.Aggregations[id] = a
	return nil
}

// checkNames keeps a name from meaning two things.
func (b *Blueprint) checkNames() error {
	seen := map[string]string{}
	for _, part := range []struct {
		what string
		ids  []string
	}{{"a property", slices.Sorted(maps.Keys(b.Properties))}, {"a mirror property", slices.Sorted(maps.Keys(b.Mirrors))},
		{"a calculation property", slices.Sorted(maps.Keys(b.Calculations))}, {"an aggregation property", slices.Sorted(maps.Keys(b.Aggregations))}} {
		for _, id := range part.ids {
			if other, taken := seen[id]; taken {
				return fail(Invalid, "%q is %s and %s", id, other, part.what)
			}
			seen[id] = part.what
		}
	}
	return nil
}

// checkReferences checks what a blueprint says of others, of which m has all.
func (b *Blueprint) checkReferences(m *Model) error {
	find := func(id string) *Blueprint {
		if id == b.Identifier {
			return b
		}
		return m.blueprints[id]
	}
	for _, id := range slices.Sorted(maps.Keys(b.Relations)) {
		if find(b.Relations[id].Target) == nil {
			return fail(Invalid, "relations.%s of blueprint %q: there is no blueprint %q", id, b.Identifier, b.Relations[id].Target)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Mirrors)) {
		at := b
		path := b.Mirrors[id].Path
		for _, hop := range path[:len(path)-1] {
			r := at.Relations[hop]
			if r == nil {
				return fail(Invalid, "mirrorProperties.%s: blueprint %q has no relation %q", id, at.Identifier, hop)
			}
			if at = find(r.Target); at == nil {
				return fail(Invalid, "mirrorProperties.%s: there is no blueprint %q", id, r.Target)
			}
		}
		if last := path[len(path)-1]; !at.has(last) {
			return fail(Invalid, "mirrorProperties.%s: blueprint %q has no property %q", id, at.Identifier, last)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.Aggregations)) {
		if find(b.Aggregations[id].Target) == nil {
			return fail(Invalid, "aggregationProperties.%s: there is no blueprint %q", id, b.Aggregations[id].Target)
		}
	}
	return nil
}

// metaProperties are those of every entity.
//
//nolint:gochecknoglobals // a table
var metaProperties = []string{"$identifier", "$title", "$team", "$icon", "$blueprint", "$createdAt", "$updatedAt", "$createdBy", "$updatedBy", "$datasource"}

// has reports whether entities have a property, of whatever sort.
func (b *Blueprint) has(property string) bool {
	return b.Properties[property] != nil || b.derived(property) || slices.Contains(metaProperties, property)
}

// derived reports whether a property is made of others.
func (b *Blueprint) derived(property string) bool {
	return b.Mirrors[property] != nil || b.Calculations[property] != nil || b.Aggregations[property] != nil
}

// JSON is the blueprint as the API shows it.
func (b *Blueprint) JSON() map[string]any {
	doc := maps.Clone(b.doc)
	for _, k := range []string{"description", "icon"} {
		if doc[k] == nil {
			delete(doc, k)
		}
	}
	doc["createdAt"], doc["updatedAt"], doc["createdBy"], doc["updatedBy"] = Moment(b.CreatedAt), Moment(b.UpdatedAt), b.CreatedBy, b.UpdatedBy
	return doc
}

func parseDoc(text string) (map[string]any, error) {
	var doc map[string]any
	return doc, json.Unmarshal([]byte(text), &doc)
}
