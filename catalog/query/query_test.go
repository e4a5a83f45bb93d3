package query_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/catalog/query"
)

// thing is a subject of fixed values.
type thing map[string]any

func (s thing) Value(p string) (any, bool)            { v, ok := s[p]; return v, ok }
func (s thing) Shaped(*query.Schema) []any            { return []any{s["text"]} }
func (s thing) Target(relation, _ string) (any, bool) { v, ok := s["→"+relation]; return v, ok }
func (s thing) Score(scorecard, rule string) (any, bool) {
	v, ok := s["#"+scorecard+rule]
	return v, ok
}
func (s thing) Related(r *query.Rule) bool { return r.Names[0] == "yes" }

var subject = thing{"text": "Hello", "empty": "", "none": nil, "n": 5.0, "on": true, "list": []any{"a", "b"}, "no": []any{}, "map": map[string]any{"x": 1.0}, "at": "2026-11-20T12:00:00Z",
	"old": "2020-01-01T00:00:00Z", "→one": "s1", "→many": []any{"s1", "s2"}, "→nobody": nil, "#ready": "Gold", "#readyr1": "FAILURE", "$createdAt": time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}

// TestMatch: each operator on each type.
func TestMatch(t *testing.T) {
	match := query.Matcher{Now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), User: query.User{Values: map[string]any{"email": "Hello"}, Teams: []any{"b"}}}
	for rule, want := range map[string]bool{
		`{"property":"text","operator":"=","value":"Hello"}`: true, `{"property":"text","operator":"=","value":"hello"}`: false, `{"property":"text","operator":"!=","value":"x"}`: true,
		`{"property":"none","operator":"=","value":null}`: true, `{"property":"empty","operator":"=","value":null}`: true, `{"property":"text","operator":"!=","value":null}`: true,
		`{"property":"n","operator":"=","value":5}`: true, `{"property":"on","operator":"=","value":true}`: true, `{"property":"at","operator":"=","value":"2026-11-20T13:00:00+01:00"}`: true,
		`{"property":"text","operator":"contains","value":"ell"}`: true, `{"property":"text","operator":"contains","value":"ELL"}`: false, `{"property":"list","operator":"contains","value":"a"}`: true,
		`{"property":"text","operator":"doesNotContains","value":"zz"}`: true, `{"property":"none","operator":"doesNotContains","value":"zz"}`: true,
		`{"property":"text","operator":"beginsWith","value":"He"}`: true, `{"property":"text","operator":"doesNotBeginsWith","value":"He"}`: false, `{"property":"text","operator":"endsWith","value":"lo"}`: true,
		`{"property":"text","operator":"doesNotEndsWith","value":"lo"}`: false, `{"property":"list","operator":"containsAny","value":["z","b"]}`: true, `{"property":"list","operator":"containsAny","value":["z"]}`: false,
		`{"property":"text","operator":"in","value":["x","Hello"]}`: true, `{"property":"text","operator":"notIn","value":["x"]}`: true, `{"property":"n","operator":">","value":4}`: true,
		`{"property":"n","operator":">=","value":5}`: true, `{"property":"n","operator":"<","value":5}`: false, `{"property":"n","operator":"<=","value":5}`: true,
		`{"property":"at","operator":">","value":"2026-11-20"}`: true, `{"property":"n","operator":">","value":"2026-11-20"}`: false,
		`{"property":"n","operator":"between","value":{"from":1,"to":5}}`: true, `{"property":"n","operator":"notBetween","value":{"from":1,"to":5}}`: false,
		`{"property":"at","operator":"between","value":{"preset":"lastWeek"}}`: true, `{"property":"old","operator":"between","value":{"preset":"lastWeek"}}`: false,
		`{"property":"at","operator":"=","value":{"preset":"yesterday"}}`: true, `{"property":"at","operator":"between","value":{"preset":"today"}}`: false,
		`{"property":"$createdAt","operator":"between","value":{"preset":"last3Months"}}`: true,
		`{"property":"none","operator":"isEmpty"}`:                                        true, `{"property":"no","operator":"isEmpty"}`: true, `{"property":"map","operator":"isEmpty"}`: false, `{"property":"text","operator":"isNotEmpty"}`: true,
		`{"property":"old","operator":"isExpired"}`: true, `{"property":"old","operator":"isNotExpired"}`: false,
		`{"property":"missing","operator":"=","value":"x"}`: false, `{"property":"missing","operator":"!=","value":"x"}`: true, `{"property":"missing","operator":"isEmpty"}`: false,
		`{"relation":"one","targetProperty":"$identifier","operator":"=","value":"s1"}`: true, `{"relation":"many","targetProperty":"$identifier","operator":"=","value":"s2"}`: true,
		`{"relation":"many","operator":"!=","value":"s2"}`: false, `{"relation":"nobody","operator":"isEmpty"}`: true, `{"relation":"many","operator":"containsAny","value":["s2","s9"]}`: true,
		`{"scorecard":"ready","operator":"=","value":"Gold"}`: true, `{"scorecard":"ready","scorecardRule":"r1","operator":"=","value":"SUCCESS"}`: false,
		`{"operator":"relatedTo","blueprint":"b","value":"yes"}`: true, `{"operator":"relatedTo","blueprint":"b","value":["no"]}`: false,
		`{"operator":"matchAny","property":{"path":["a",{"relation":"b","maxHops":3}]},"value":"yes"}`: true,
		`{"propertySchema":{"type":"string"},"operator":"=","value":"Hello"}`:                          true, `{"property":"text","operator":"=","not":true,"value":"Hello"}`: false,
		`{"property":"text","operator":"=","value":{"context":"user","property":"email"}}`: true,
		`{"property":"list","operator":"containsAny","value":{"context":"userTeams"}}`:     true,
		`{"property":{"property":"text","context":"user"},"operator":"=","value":"Hello"}`: true,
		`{"combinator":"or","rules":[]}`: false,
		`{"combinator":"or","rules":[{"property":"n","operator":"=","value":1},{"combinator":"and","rules":[]}]}`: true,
	} {
		g, err := query.Parse([]byte(`{"combinator":"and","rules":[` + rule + `]}`))
		if err != nil {
			t.Errorf("%s: %v", rule, err)
			continue
		}
		if got := match.Match(g, subject); got != want {
			t.Errorf("%s: %v", rule, got)
		}
	}
}

// TestRefused: what is no query names the place.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`x`: "query: it is no JSON", `[]`: "query: must be an object", `{"rules":[]}`: `query.combinator: must be "and" or "or"`, `{"combinator":"and"}`: "query.rules: must be a list",
		`{"combinator":"and","rules":[1]}`:                                                                                       "query.rules[0]: must be an object",
		`{"combinator":"and","rules":[{"property":"a","operator":"~","value":1}]}`:                                               `query.rules[0].operator: "~" is no operator`,
		`{"combinator":"and","rules":[{"operator":"=","value":1}]}`:                                                              "query.rules[0].property: is missing",
		`{"combinator":"and","rules":[{"property":"a","operator":"beginsWith","value":1}]}`:                                      "query.rules[0].value: beginsWith takes a string",
		`{"combinator":"and","rules":[{"property":"a","operator":"in","value":1}]}`:                                              "takes a list",
		`{"combinator":"and","rules":[{"property":"a","operator":"between","value":{"preset":"x"}}]}`:                            `"x" is no preset`,
		`{"combinator":"and","rules":[{"operator":"relatedTo","value":"x"}]}`:                                                    "query.rules[0].blueprint",
		`{"combinator":"and","rules":[{"operator":"relatedTo","blueprint":"b","direction":"up","value":"x"}]}`:                   "direction",
		`{"combinator":"and","rules":[{"operator":"matchAny","property":{"path":[]},"value":"x"}]}`:                              "path: must be a list of 1 to 15",
		`{"combinator":"and","rules":[{"operator":"matchAny","property":{"path":[{"relation":"a","maxHops":99}]},"value":"x"}]}`: "1 to 15 hops",
		strings.Repeat(`{"combinator":"and","rules":[`, 30) + strings.Repeat(`]}`, 30):                                           "nests more than 20 deep",
	} {
		if _, err := query.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.120s: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"combinator":"and","rules":[{"property":"n","operator":"between","value":{"from":1,"to":5}},{"operator":"matchAny","property":{"path":["a"]},"value":["yes"]}]}`)
	f.Add(`{"combinator":"or","rules":[{"combinator":"and","rules":[{"property":"at","operator":"=","value":{"preset":"today"}}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		g, err := query.Parse([]byte(text))
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) && !strings.Contains(text, "}") {
			t.Errorf("%q was read", text)
		}
		match := query.Matcher{Now: time.Now()}
		s := thing{"→x": nil}
		for k, v := range subject {
			s[k] = v
		}
		_ = match.Match(g, safe{s})
	})
}

// safe is a subject that rules without names may be asked of.
type safe struct{ thing }

func (s safe) Related(r *query.Rule) bool { return len(r.Names) > 0 }
