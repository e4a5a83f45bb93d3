package query

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// Subject is what a query is asked about.
type Subject interface {
	// Value is a property's or a meta property's value; known is false when the
	// entity's blueprint has none of that name.
	Value(property string) (v any, known bool)
	// Shaped are the values of all properties of a type.
	Shaped(s *Schema) []any
	// Target are the identifiers or titles that a relation leads to.
	Target(relation, property string) (v any, known bool)
	// Score is the level of a scorecard, or the outcome of one of its rules.
	Score(scorecard, rule string) (v any, known bool)
	// Related decides relatedTo and matchAny.
	Related(r *Rule) bool
}

// User is the one who asks, for rules about the user.
type User struct {
	Values map[string]any // $identifier, email and so on
	Teams  []any
}

// Matcher matches entities; it holds what is the same for all of them.
type Matcher struct {
	Now  time.Time
	User User
}

// Match reports whether a subject fits a query. A group without rules fits everything
// under and, nothing under or.
func (m Matcher) Match(g *Group, s Subject) bool {
	for _, n := range g.Nodes {
		fits := false
		if n.Rule != nil {
			fits = m.rule(n.Rule, s)
		} else {
			fits = m.Match(n.Group, s)
		}
		if fits == g.Or {
			return g.Or
		}
	}
	return !g.Or
}

func (m Matcher) rule(r *Rule, s Subject) bool {
	if r.Operator == RelatedTo || r.Operator == MatchAny {
		return s.Related(r) != r.Negated
	}
	if r.Schema != nil {
		for _, v := range s.Shaped(r.Schema) {
			if m.compare(r, v) != r.Negated {
				return true
			}
		}
		return false
	}
	var v any
	var known bool
	switch {
	case r.Relation != "":
		v, known = s.Target(r.Relation, r.TargetProperty)
	case r.Scorecard != "":
		v, known = s.Score(r.Scorecard, r.ScorecardRule)
	default:
		v, known = s.Value(r.Property)
	}
	if list, many := v.([]any); many && r.Relation != "" && r.Operator != IsEmpty && r.Operator != In && r.Operator != ContainsAny {
		fits := slices.ContainsFunc(list, func(one any) bool { return m.compare(r, one) })
		return fits != r.Negated
	}
	return (known && m.compare(r, v)) != r.Negated // what there is not fits what denies
}

// want is the value that a rule compares with.
func (m Matcher) want(r *Rule) any {
	if r.Context == nil {
		return r.Value
	}
	if r.Context.Context == "userTeams" {
		return m.User.Teams
	}
	return m.User.Values[r.Context.Property]
}

// compare is an operator in its positive form.
func (m Matcher) compare(r *Rule, v any) bool {
	want := m.want(r)
	switch r.Operator {
	case IsEmpty:
		return empty(v)
	case IsExpired:
		at, ok := date(v)
		return ok && at.Before(m.Now)
	case Equal:
		if span, ok := want.(map[string]any); ok && v != nil {
			if from, to, ok := m.bounds(span); ok {
				return within(v, from, to)
			}
		}
		return want == nil && empty(v) || equal(v, want)
	case Contains:
		if list, ok := v.([]any); ok {
			return has(list, want)
		}
		return both(v, want, strings.Contains)
	case BeginsWith:
		return both(v, want, strings.HasPrefix)
	case EndsWith:
		return both(v, want, strings.HasSuffix)
	case In, ContainsAny:
		options, ok := want.([]any)
		if !ok {
			options = []any{want}
		}
		if list, ok := v.([]any); ok {
			for _, item := range list {
				if has(options, item) {
					return true
				}
			}
			return false
		}
		return has(options, v)
	case Greater, GreaterOrEqual, Less, LessOrEqual:
		c, ok := order(v, want)
		switch {
		case !ok:
			return false
		case r.Operator == Greater:
			return c > 0
		case r.Operator == GreaterOrEqual:
			return c >= 0
		case r.Operator == Less:
			return c < 0
		}
		return c <= 0
	case Between:
		span, ok := want.(map[string]any)
		if !ok {
			return false
		}
		from, to, ok := m.bounds(span)
		return ok && within(v, from, to)
	}
	return false
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func has(list []any, v any) bool {
	for _, item := range list {
		if equal(item, v) {
			return true
		}
	}
	return false
}

func both(v, want any, fits func(string, string) bool) bool {
	a, ok := v.(string)
	b, ok2 := want.(string)
	return ok && ok2 && fits(a, b)
}

// equal compares values; times that are written differently and mean the same are equal.
func equal(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, ok := date(a)
	y, ok2 := date(b)
	return ok && ok2 && x.Equal(y)
}

// order compares numbers, or times.
func order(a, b any) (int, bool) {
	x, ok := a.(float64)
	y, ok2 := b.(float64)
	if ok && ok2 {
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	s, ok := date(a)
	t, ok2 := date(b)
	return s.Compare(t), ok && ok2
}

func within(v, from, to any) bool {
	c, ok := order(v, from)
	d, ok2 := order(v, to)
	return ok && ok2 && c >= 0 && d <= 0
}

// Date reads a date-time as properties have it.
func Date(s string) (time.Time, bool) {
	if len(s) < len("2006-01-02") || len(s) > 40 || s[4] != '-' {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func date(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		return Date(v)
	}
	return time.Time{}, false
}

// period is a span of time by its name: so many days, weeks, months or years before or
// after now; day spans begin at midnight.
type period struct {
	name                string
	years, months, days int
}

//nolint:gochecknoglobals // a table
var presets = []period{{"today", 0, 0, 0}, {"yesterday", 0, 0, -1}, {"tomorrow", 0, 0, 1},
	{"lastDay", 0, 0, -1}, {"lastWeek", 0, 0, -7}, {"last2Weeks", 0, 0, -14}, {"lastMonth", 0, -1, 0}, {"last3Months", 0, -3, 0}, {"last6Months", 0, -6, 0},
	{"last12Months", 0, -12, 0}, {"last2Years", -2, 0, 0}, {"last3Years", -3, 0, 0},
	{"nextDay", 0, 0, 1}, {"nextWeek", 0, 0, 7}, {"next2Weeks", 0, 0, 14}, {"nextMonth", 0, 1, 0}, {"next3Months", 0, 3, 0}, {"next6Months", 0, 6, 0},
	{"next12Months", 0, 12, 0}}

// bounds are the ends of a span, both included.
func (m Matcher) bounds(span map[string]any) (from, to any, ok bool) {
	name, isPreset := span["preset"].(string)
	if !isPreset {
		return span["from"], span["to"], span["from"] != nil && span["to"] != nil
	}
	now := m.Now.UTC()
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	for _, p := range presets {
		if p.name != name {
			continue
		}
		switch name {
		case "today", "yesterday", "tomorrow":
			begin := midnight.AddDate(0, 0, p.days)
			return begin, begin.AddDate(0, 0, 1).Add(-time.Nanosecond), true
		}
		other := now.AddDate(p.years, p.months, p.days)
		if other.Before(now) {
			return other, now, true
		}
		return now, other, true
	}
	return nil, nil, false
}

// Span are the ends of a rule's value that is a span of time or of numbers.
func (m Matcher) Span(v any) (from, to any, ok bool) {
	span, isMap := v.(map[string]any)
	if !isMap {
		return nil, nil, false
	}
	return m.bounds(span)
}
