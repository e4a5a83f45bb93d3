package catalog

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/sqldb"
)

// Scorecard grades a blueprint's entities by rules.
type Scorecard struct {
	Blueprint, Identifier, Title string
	Levels                       []string
	Filter                       *query.Group
	Rules                        []ScoreRule
	CreatedAt, UpdatedAt         time.Time
	CreatedBy, UpdatedBy         string
	doc                          map[string]any
}

// ScoreRule is one condition for a level.
type ScoreRule struct {
	Identifier, Level string
	Query             *query.Group
}

// Score is what an entity reached.
type Score struct {
	Level string       `json:"level"`
	Rules []RuleResult `json:"rules"`
}

// RuleResult is a rule's outcome, SUCCESS or FAILURE.
type RuleResult struct {
	Identifier string `json:"identifier"`
	Level      string `json:"level"`
	Status     string `json:"status"`
}

// defaultLevels are those of a scorecard that gives none, as Port answers them.
func defaultLevels() []any {
	return []any{map[string]any{"title": "Basic", "color": "paleBlue"}, map[string]any{"title": "Bronze", "color": "bronze"},
		map[string]any{"title": "Silver", "color": "silver"}, map[string]any{"title": "Gold", "color": "gold"}}
}

func readScorecard(doc map[string]any) (*Scorecard, error) {
	doc = maps.Clone(doc)
	for _, k := range append([]string{"blueprint"}, meta...) {
		delete(doc, k)
	}
	s := &Scorecard{doc: doc}
	s.Identifier, _ = doc["identifier"].(string)
	s.Title, _ = doc["title"].(string)
	if why := checkID(s.Identifier); why != "" || len(s.Identifier) > maxIdentifier {
		return nil, fail(Invalid, "identifier: %s", why)
	}
	if s.Title == "" {
		return nil, fail(Invalid, "title must have a text")
	}
	levels, ok := doc["levels"].([]any)
	if !ok || len(levels) == 0 {
		levels = defaultLevels()
		doc["levels"] = levels
	}
	for i, l := range levels {
		m, _ := l.(map[string]any)
		title, _ := m["title"].(string)
		if title == "" || slices.Contains(s.Levels, title) {
			return nil, fail(Invalid, "levels[%d] must have a title of its own", i)
		}
		s.Levels = append(s.Levels, title)
	}
	if f := doc["filter"]; f != nil {
		var err error
		if s.Filter, err = query.Conditions(f); err != nil {
			return nil, fail(Invalid, "filter: %v", err)
		}
	}
	rules, ok := doc["rules"].([]any)
	if !ok || len(rules) > maxMembers {
		return nil, fail(Invalid, "rules must be a list")
	}
	for i, r := range rules {
		m, _ := r.(map[string]any)
		rule := ScoreRule{}
		rule.Identifier, _ = m["identifier"].(string)
		rule.Level, _ = m["level"].(string)
		var err error
		rule.Query, err = query.Conditions(m["query"])
		switch at := slices.Index(s.Levels, rule.Level); {
		case err != nil:
			return nil, fail(Invalid, "rules[%d].%v", i, err)
		case rule.Identifier == "" || slices.ContainsFunc(s.Rules, func(o ScoreRule) bool { return o.Identifier == rule.Identifier }):
			return nil, fail(Invalid, "rules[%d] must have an identifier of its own", i)
		case at < 0:
			return nil, fail(Invalid, "rules[%d].level: there is no level %q", i, rule.Level)
		case at == 0:
			return nil, fail(Invalid, "rules[%d].level: %q is the first level, which everything has", i, rule.Level)
		}
		s.Rules = append(s.Rules, rule)
	}
	return s, nil
}

// JSON is the scorecard as the API shows it.
func (s *Scorecard) JSON() map[string]any {
	doc := maps.Clone(s.doc)
	doc["blueprint"] = s.Blueprint
	doc["createdAt"], doc["updatedAt"], doc["createdBy"], doc["updatedBy"] = Moment(s.CreatedAt), Moment(s.UpdatedAt), s.CreatedBy, s.UpdatedBy
	return doc
}

// score grades an entity by all scorecards of its blueprint.
func (c *Catalog) score(m *Model, b *Blueprint, e *Entity) {
	match := query.Matcher{Now: c.now()}
	sub := &subject{e: e, b: b}
	e.Scorecards = map[string]Score{}
	for _, s := range m.scorecards[b.Identifier] {
		if s.Filter != nil && !match.Match(s.Filter, sub) {
			continue
		}
		out := Score{Level: s.Levels[0], Rules: []RuleResult{}}
		failed := len(s.Levels) // the lowest level with a rule that fails
		for _, r := range s.Rules {
			status := "SUCCESS"
			if !match.Match(r.Query, sub) {
				status = "FAILURE"
				failed = min(failed, slices.Index(s.Levels, r.Level))
			}
			out.Rules = append(out.Rules, RuleResult{r.Identifier, r.Level, status})
		}
		out.Level = s.Levels[failed-1]
		e.Scorecards[s.Identifier] = out
	}
}

// Scorecards returns those of a blueprint, or of all of an account's.
func (c *Catalog) Scorecards(ctx context.Context, account arn.Account, blueprint string) ([]*Scorecard, error) {
	m, err := c.Model(ctx, account)
	if err != nil {
		return nil, err
	}
	if blueprint != "" {
		if m.blueprints[blueprint] == nil {
			return nil, errNoBlueprint(blueprint)
		}
		return m.scorecards[blueprint], nil
	}
	var out []*Scorecard
	for _, b := range m.Blueprints() {
		out = append(out, m.scorecards[b.Identifier]...)
	}
	return out, nil
}

// Scorecard returns one: NotFound.
func (c *Catalog) Scorecard(ctx context.Context, account arn.Account, blueprint, id string) (*Scorecard, error) {
	list, err := c.Scorecards(ctx, account, blueprint)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, func(s *Scorecard) bool { return s.Identifier == id }); i >= 0 {
		return list[i], nil
	}
	return nil, errNoScorecard(blueprint, id)
}

func errNoScorecard(blueprint, id string) *Error {
	return fail(NotFound, "There is no scorecard %q of blueprint %q", id, blueprint)
}

// SaveScorecards writes scorecards of a blueprint. create refuses those that exist; all
// removes those that are not given: NotFound, Taken, Invalid.
func (c *Catalog) SaveScorecards(ctx context.Context, account arn.Account, blueprint string, docs []map[string]any, create, all bool, by Actor) ([]*Scorecard, error) {
	var out []*Scorecard
	err := c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		out = nil
		if m.blueprints[blueprint] == nil {
			return errNoBlueprint(blueprint)
		}
		next := *m
		next.version, next.scorecards = m.version+1, maps.Clone(m.scorecards)
		have := slices.Clone(m.scorecards[blueprint])
		var list []*Scorecard
		if !all {
			list = have
		}
		for _, doc := range docs {
			s, err := readScorecard(doc)
			if err != nil {
				return err
			}
			s.Blueprint, s.CreatedAt, s.CreatedBy, s.UpdatedAt, s.UpdatedBy = blueprint, c.moment(), by.ID, c.moment(), by.ID
			same := func(o *Scorecard) bool { return o.Identifier == s.Identifier }
			if i := slices.IndexFunc(have, same); i >= 0 {
				if create {
					return fail(Taken, "A scorecard %q of blueprint %q exists already", s.Identifier, blueprint)
				}
				s.CreatedAt, s.CreatedBy = have[i].CreatedAt, have[i].CreatedBy
			} else if !create && !all {
				return errNoScorecard(blueprint, s.Identifier)
			}
			list = append(slices.DeleteFunc(list, same), s)
			out = append(out, s)
			if err := upsertScorecard(tx, account, s); err != nil {
				return err
			}
			if err := c.record(tx, account, by, Change{Action: "UPDATE", Resource: "scorecard", Blueprint: blueprint, Entity: s.Identifier, After: s.JSON()}); err != nil {
				return err
			}
		}
		for _, s := range have {
			if !slices.ContainsFunc(list, func(o *Scorecard) bool { return o.Identifier == s.Identifier }) {
				if err := deleteScorecard(tx, account, blueprint, s.Identifier); err != nil {
					return err
				}
			}
		}
		next.scorecards[blueprint] = list
		return c.nextModel(tx, account, &next)
	})
	return out, err
}

// DeleteScorecard removes one: NotFound.
func (c *Catalog) DeleteScorecard(ctx context.Context, account arn.Account, blueprint, id string, by Actor) error {
	return c.write(ctx, account, func(tx *sqldb.Tx, m *Model) error {
		list := m.scorecards[blueprint]
		left := slices.DeleteFunc(slices.Clone(list), func(s *Scorecard) bool { return s.Identifier == id })
		if len(left) == len(list) {
			return errNoScorecard(blueprint, id)
		}
		if err := deleteScorecard(tx, account, blueprint, id); err != nil {
			return err
		}
		next := *m
		next.version, next.scorecards = m.version+1, maps.Clone(m.scorecards)
		next.scorecards[blueprint] = left
		if err := c.nextModel(tx, account, &next); err != nil {
			return err
		}
		return c.record(tx, account, by, Change{Action: "DELETE", Resource: "scorecard", Blueprint: blueprint, Entity: id})
	})
}
