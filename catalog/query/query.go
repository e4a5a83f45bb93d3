// Package query reads the search queries of Port's API (rules joined by and and or) and
// decides whether an entity matches.
//
// It is pure: what a rule needs to know of other entities (relatedTo, matchAny) or of
// scorecards it asks of the Subject that it is given. How a query becomes SQL is the
// catalog's; Match is what both must agree with.
package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Limits of a query.
const (
	maxDepth  = 20
	maxRules  = 500
	maxValues = 5000
)

// Error is a query that cannot be read. Its text names the place.
type Error struct{ Path, Text string }

func (e *Error) Error() string { return e.Path + ": " + e.Text }

// Group is rules joined by a combinator.
type Group struct {
	Or    bool
	Nodes []Node
}

// Node is a rule or a group; one of the two is set.
type Node struct {
	Rule  *Rule
	Group *Group
}

// Operator is what a rule compares by.
type Operator string

// The operators.
const (
	Equal          Operator = "="
	NotEqual       Operator = "!="
	Contains       Operator = "contains"
	NotContains    Operator = "doesNotContains"
	BeginsWith     Operator = "beginsWith"
	NotBeginsWith  Operator = "doesNotBeginsWith"
	EndsWith       Operator = "endsWith"
	NotEndsWith    Operator = "doesNotEndsWith"
	ContainsAny    Operator = "containsAny"
	In             Operator = "in"
	NotIn          Operator = "notIn"
	Greater        Operator = ">"
	GreaterOrEqual Operator = ">="
	Less           Operator = "<"
	LessOrEqual    Operator = "<="
	Between        Operator = "between"
	NotBetween     Operator = "notBetween"
	IsEmpty        Operator = "isEmpty"
	IsNotEmpty     Operator = "isNotEmpty"
	IsExpired      Operator = "isExpired"
	IsNotExpired   Operator = "isNotExpired"
	RelatedTo      Operator = "relatedTo"
	MatchAny       Operator = "matchAny"
)

// positive has for each operator that denies the one it denies.
var positive = map[Operator]Operator{NotEqual: Equal, NotContains: Contains, NotBeginsWith: BeginsWith, NotEndsWith: EndsWith, NotIn: In,
	NotBetween: Between, IsNotEmpty: IsEmpty, IsNotExpired: IsExpired}

// aliases are spellings that clients use for the same.
var aliases = map[Operator]Operator{"doesNotContain": NotContains, "doesNotBeginWith": NotBeginsWith, "doesNotEndWith": NotEndsWith, "not": NotEqual}

// needs says what value an operator takes.
var needs = map[Operator]func(*Rule) string{
	Equal: anything, NotEqual: anything, Contains: scalar, NotContains: scalar, BeginsWith: text, NotBeginsWith: text, EndsWith: text, NotEndsWith: text,
	ContainsAny: list, In: list, NotIn: list, Greater: ordered, GreaterOrEqual: ordered, Less: ordered, LessOrEqual: ordered, Between: span, NotBetween: span,
	IsEmpty: nothing, IsNotEmpty: nothing, IsExpired: nothing, IsNotExpired: nothing, RelatedTo: names, MatchAny: names,
}

// Rule is one condition.
type Rule struct {
	Property       string // an id or $meta; "" when another left side is set
	Schema         *Schema
	Relation       string // with TargetProperty, $identifier or $title
	TargetProperty string
	Scorecard      string
	ScorecardRule  string
	Operator       Operator
	Negated        bool
	Value          any // as encoding/json makes it
	Context        *Context
	// Of relatedTo and matchAny.
	Names     []string
	Blueprint string
	Direction string // upstream, downstream, "" for both
	Required  *bool
	Path      []Hop
	From      string // the blueprint that Path begins at, "" for the entity's own
}

// Schema selects properties by their type.
type Schema struct {
	Type   string `json:"type"`
	Format string `json:"format"`
	Items  *struct {
		Type   string `json:"type"`
		Format string `json:"format"`
	} `json:"items"`
}

// Context is a value that is the caller's: a property of the user.
type Context struct {
	Context  string `json:"context"`
	Property string `json:"property"`
}

// Hop is a step along a relation.
type Hop struct {
	Relation string
	MaxHops  int
}

// Parse reads a query: *Error.
func Parse(raw []byte) (*Group, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, &Error{"query", "it is no JSON: " + err.Error()}
	}
	return FromValue(v)
}

// FromValue reads a query that has been decoded.
func FromValue(v any) (*Group, error) {
	p := &parser{}
	return p.group("query", v, 0, "rules")
}

// Conditions reads the query of a scorecard's rule or filter, whose rules are called
// conditions.
func Conditions(v any) (*Group, error) {
	p := &parser{}
	return p.group("query", v, 0, "conditions")
}

// Is reports whether a value has the form of a query, as relations' values may.
func Is(v any) bool {
	m, ok := v.(map[string]any)
	return ok && m["combinator"] != nil && (m["rules"] != nil || m["conditions"] != nil)
}

type parser struct{ rules int }

func bad(path, format string, args ...any) error { return &Error{path, fmt.Sprintf(format, args...)} }

func (p *parser) group(path string, v any, depth int, key string) (*Group, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, bad(path, "must be an object with combinator and %s", key)
	}
	if depth > maxDepth {
		return nil, bad(path, "it nests more than %d deep", maxDepth)
	}
	g := &Group{}
	switch m["combinator"] {
	case "and":
	case "or":
		g.Or = true
	default:
		return nil, bad(path+".combinator", `must be "and" or "or"`)
	}
	list, ok := m[key].([]any)
	if !ok {
		return nil, bad(path+"."+key, "must be a list")
	}
	for i, item := range list {
		at := fmt.Sprintf("%s.%s[%d]", path, key, i)
		child, ok := item.(map[string]any)
		if !ok {
			return nil, bad(at, "must be an object")
		}
		if child["combinator"] != nil && child["operator"] == nil {
			sub, err := p.group(at, child, depth+1, key)
			if err != nil {
				return nil, err
			}
			g.Nodes = append(g.Nodes, Node{Group: sub})
			continue
		}
		if p.rules++; p.rules > maxRules {
			return nil, bad(at, "there are more than %d rules", maxRules)
		}
		r, err := p.rule(at, child)
		if err != nil {
			return nil, err
		}
		g.Nodes = append(g.Nodes, Node{Rule: r})
	}
	return g, nil
}

func str(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func (p *parser) rule(path string, m map[string]any) (*Rule, error) {
	op := Operator(str(m, "operator"))
	if a, ok := aliases[op]; ok {
		op = a
	}
	need, known := needs[op]
	if !known {
		return nil, bad(path+".operator", "%q is no operator", str(m, "operator"))
	}
	r := &Rule{Operator: op, Value: m["value"], Relation: str(m, "relation"), TargetProperty: str(m, "targetProperty"), Scorecard: str(m, "scorecard"),
		ScorecardRule: str(m, "scorecardRule"), Blueprint: str(m, "blueprint"), Direction: str(m, "direction")}
	if not, _ := m["not"].(bool); not {
		r.Negated = true
	}
	if plain, ok := positive[op]; ok {
		r.Operator, r.Negated = plain, !r.Negated
	}
	if err := r.left(path, m); err != nil {
		return nil, err
	}
	if ctx, ok := r.Value.(map[string]any); ok && ctx["context"] != nil {
		r.Context = &Context{str(ctx, "context"), str(ctx, "property")}
		return r, nil
	}
	if why := need(r); why != "" {
		return nil, bad(path+".value", "%s takes %s", op, why)
	}
	return r, nil
}

// left reads what the rule is about.
func (r *Rule) left(path string, m map[string]any) error {
	switch prop := m["property"].(type) {
	case string:
		r.Property = prop
	case map[string]any:
		if r.Operator == MatchAny {
			return r.path(path+".property", prop)
		}
		r.Property = str(prop, "property")
	}
	if s, ok := m["propertySchema"]; ok {
		b, err := json.Marshal(s)
		if err == nil {
			r.Schema = &Schema{}
			err = json.Unmarshal(b, r.Schema)
		}
		if err != nil || r.Schema.Type == "" {
			return bad(path+".propertySchema", "must be an object with a type")
		}
	}
	if req, ok := m["required"].(bool); ok {
		r.Required = &req
	}
	switch {
	case r.Operator == RelatedTo:
		if r.Blueprint == "" {
			return bad(path+".blueprint", "must name the blueprint of the related entities")
		}
		if r.Direction != "" && r.Direction != "upstream" && r.Direction != "downstream" {
			return bad(path+".direction", `must be "upstream" or "downstream"`)
		}
	case r.Operator == MatchAny:
		return bad(path+".property", "must be an object with a path")
	case r.Property == "" && r.Schema == nil && r.Relation == "" && r.Scorecard == "":
		return bad(path+".property", "is missing")
	}
	if r.Relation != "" && r.TargetProperty == "" {
		r.TargetProperty = "$identifier"
	}
	return nil
}

// maxHops bounds how often a self-relation is followed.
const maxHops = 15

func (r *Rule) path(path string, m map[string]any) error {
	r.From = str(m, "fromBlueprint")
	hops, ok := m["path"].([]any)
	if one := str(m, "path"); one != "" {
		hops, ok = []any{one}, true
	}
	if !ok || len(hops) == 0 || len(hops) > maxHops {
		return bad(path+".path", "must be a list of 1 to %d relations", maxHops)
	}
	for i, h := range hops {
		hop := Hop{MaxHops: 1}
		switch h := h.(type) {
		case string:
			hop.Relation = h
		case map[string]any:
			hop.Relation = str(h, "relation")
			if n, ok := h["maxHops"].(float64); ok {
				hop.MaxHops = int(n)
			}
		}
		if hop.Relation == "" || hop.MaxHops < 1 || hop.MaxHops > maxHops {
			return bad(fmt.Sprintf("%s.path[%d]", path, i), "must be a relation, or {relation, maxHops} with 1 to %d hops", maxHops)
		}
		r.Path = append(r.Path, hop)
	}
	return nil
}

func anything(r *Rule) string {
	if m, ok := r.Value.(map[string]any); ok && (m["from"] != nil || m["to"] != nil || m["preset"] != nil) {
		return span(r)
	}
	return ""
}

func scalar(r *Rule) string {
	switch r.Value.(type) {
	case string, float64, bool:
		return ""
	}
	return "a string, a number or a boolean"
}

func text(r *Rule) string {
	if _, ok := r.Value.(string); ok {
		return ""
	}
	return "a string"
}

func list(r *Rule) string {
	if s, ok := r.Value.(string); ok {
		r.Value = []any{s}
	}
	if l, ok := r.Value.([]any); ok && len(l) <= maxValues {
		return ""
	}
	return fmt.Sprintf("a list of at most %d values", maxValues)
}

func ordered(r *Rule) string {
	switch r.Value.(type) {
	case string, float64:
		return ""
	}
	return "a number or a date-time"
}

func span(r *Rule) string {
	const form = "an object with from and to, or with a preset"
	m, ok := r.Value.(map[string]any)
	if !ok {
		return form
	}
	if preset, ok := m["preset"]; ok {
		name, _ := preset.(string)
		if !slices.ContainsFunc(presets, func(p period) bool { return p.name == name }) {
			return form + fmt.Sprintf("; %q is no preset", name)
		}
		return ""
	}
	if m["from"] == nil || m["to"] == nil {
		return form
	}
	return ""
}

func nothing(r *Rule) string {
	r.Value = nil
	return ""
}

func names(r *Rule) string {
	switch v := r.Value.(type) {
	case string:
		r.Names = []string{v}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return "an identifier, or a list of them"
			}
			r.Names = append(r.Names, s)
		}
	default:
		return "an identifier, or a list of them"
	}
	if len(r.Names) > maxValues {
		return fmt.Sprintf("at most %d identifiers", maxValues)
	}
	return ""
}

// Rules visits every rule of a query.
func (g *Group) Rules(visit func(*Rule)) {
	for _, n := range g.Nodes {
		if n.Rule != nil {
			visit(n.Rule)
		} else {
			n.Group.Rules(visit)
		}
	}
}
