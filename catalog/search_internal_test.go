package catalog

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/query"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const searchAccount = arn.Account("111111111111")

func searchCatalog(t testing.TB, db *sqldb.DB) *Catalog {
	t.Helper()
	if err := db.Migrate(t.Context(), "catalog", Migrations()); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	c := New(db, secret.NewMaster(make([]byte, 32)), Options{Now: func() time.Time { return now }})
	var doc map[string]any
	text := `{"identifier":"x","title":"X","schema":{"properties":{"name":{"type":"string"},"n":{"type":"number"},"on":{"type":"boolean"},"at":{"type":"string","format":"date-time"},
		"tags":{"type":"array","items":{"type":"string"}},"raw":{"type":"object"},"off":{"type":"string","index":false}}},"relations":{"one":{"target":"x"},"all":{"target":"x","many":true}},
		"mirrorProperties":{"oneName":{"path":"one.name"}}}`
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateBlueprint(t.Context(), searchAccount, doc, Actor{ID: "me"}); err != nil {
		t.Fatal(err)
	}
	return c
}

// words are values that are alike in ways that matter: prefixes, lengths over that of the
// index, case, signs, times in two forms.
func words(rng *rand.Rand) string {
	long := strings.Repeat("long", 40)
	list := []string{"a", "ab", "abc", "A", "é", "", long + "1", long + "2", "2026-01-01", "2026-01-01T00:00:00Z", "50%", "_", "port-x"}
	return list[rng.IntN(len(list))]
}

func numbers(rng *rand.Rand) float64 {
	list := []float64{-1e9, -2, -0.5, 0, 0.5, 1, 2, 10, 1e9}
	return list[rng.IntN(len(list))]
}

func dates(rng *rand.Rand) string {
	list := []string{"2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-11-20T12:00:00.5Z", "2026-11-21", "2027-01-01T00:00:00Z"}
	return list[rng.IntN(len(list))]
}

func randomPut(rng *rand.Rand, i int) Put {
	p := Put{Blueprint: "x", Identifier: fmt.Sprintf("e%03d", i), Properties: map[string]any{}, Relations: map[string]any{}, By: Actor{ID: "me", Source: []string{"", "src/a (x)", "src/b (x)"}[rng.IntN(3)]}}
	if i%7 == 0 {
		p.Identifier = strings.Repeat("long/", 60) + fmt.Sprint(i)
	}
	maybe := func(key string, v any) {
		if rng.IntN(3) > 0 {
			p.Properties[key] = v
		}
	}
	maybe("name", words(rng))
	maybe("off", words(rng))
	maybe("n", numbers(rng))
	maybe("on", rng.IntN(2) == 0)
	maybe("at", dates(rng))
	maybe("raw", map[string]any{"a": 1.0})
	tags := []any{}
	for range rng.IntN(4) {
		tags = append(tags, words(rng))
	}
	if rng.IntN(20) == 0 {
		for n := range 150 {
			tags = append(tags, fmt.Sprint("many", n))
		}
	}
	maybe("tags", tags)
	title := words(rng)
	p.Title = &title
	if i > 0 {
		p.Relations["one"] = "e001"
		if rng.IntN(2) == 0 {
			p.Relations["all"] = []any{"e001", "e002"}
		}
	}
	p.Team = []any{[]string{"red", "blue"}[rng.IntN(2)]}
	return p
}

func randomRule(rng *rand.Rand) map[string]any {
	ops := []string{"=", "!=", "contains", "doesNotContains", "beginsWith", "doesNotBeginsWith", "endsWith", "containsAny", "in", "notIn", ">", ">=", "<", "<=", "between", "notBetween", "isEmpty", "isNotEmpty", "isExpired"}
	op := ops[rng.IntN(len(ops))]
	props := []string{"name", "off", "n", "on", "at", "tags", "raw", "oneName", "nothing", "$identifier", "$title", "$team", "$datasource", "$blueprint", "$updatedAt"}
	r := map[string]any{"operator": op, "property": props[rng.IntN(len(props))]}
	if rng.IntN(8) == 0 {
		r = map[string]any{"operator": op, "relation": []string{"one", "all"}[rng.IntN(2)], "targetProperty": []string{"$identifier", "$title"}[rng.IntN(2)]}
	}
	one := func() any {
		switch rng.IntN(7) {
		case 0:
			return numbers(rng)
		case 1:
			return rng.IntN(2) == 0
		case 2:
			return dates(rng)
		case 3:
			return []string{"e001", "e003", strings.Repeat("long/", 60) + "7", "red", "x", "src/a", "many120", "many3"}[rng.IntN(8)]
		}
		return words(rng)
	}
	switch op {
	case "isEmpty", "isNotEmpty", "isExpired":
	case "between", "notBetween":
		r["value"] = map[string]any{"from": one(), "to": one()}
		if rng.IntN(2) == 0 {
			r["value"] = map[string]any{"preset": "lastWeek"}
		}
	case "containsAny", "in", "notIn":
		r["value"] = []any{one(), one()}
	case "=", "!=":
		if r["value"] = one(); rng.IntN(6) == 0 {
			r["value"] = nil
		}
	default:
		r["value"] = one()
	}
	return r
}

func randomQuery(rng *rand.Rand, depth int) map[string]any {
	rules := []any{}
	for range rng.IntN(4) {
		if depth < 2 && rng.IntN(4) == 0 {
			rules = append(rules, randomQuery(rng, depth+1))
			continue
		}
		rules = append(rules, randomRule(rng))
	}
	return map[string]any{"combinator": []string{"and", "or"}[rng.IntN(2)], "rules": rules}
}

// TestSearchAgrees: what the index narrows is what matching every entity finds, on any
// query.
func TestSearchAgrees(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		c := searchCatalog(t, db)
		rng := rand.New(rand.NewPCG(3, 4))
		for _, id := range []string{"e001", "e002"} {
			if _, err := c.PutEntity(t.Context(), searchAccount, Put{Blueprint: "x", Identifier: id, By: Actor{ID: "me"}}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 150 {
			p := randomPut(rng, i)
			if p.Mode = Replace; rng.IntN(4) == 0 { // and once more, so that the index is changed
				p.Mode = Merge
			}
			if _, err := c.PutEntity(t.Context(), searchAccount, p); err != nil {
				t.Fatal(err)
			}
		}
		all, err := c.Search(t.Context(), searchAccount, Search{Blueprint: "x"})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Model(t.Context(), searchAccount)
		if err != nil {
			t.Fatal(err)
		}
		narrowed, found := 0, 0
		for range 500 {
			raw := randomQuery(rng, 0)
			g, err := query.FromValue(raw)
			if err != nil {
				continue // a value that the operator does not take
			}
			var want []string
			match := query.Matcher{Now: c.now()}
			for _, e := range all.Entities {
				if match.Match(g, &subject{e: e, b: m.blueprints["x"]}) {
					want = append(want, e.Identifier)
				}
			}
			got, err := c.Search(t.Context(), searchAccount, Search{Blueprint: "x", Query: g})
			if err != nil {
				t.Fatalf("%v of %s", err, preview(raw))
			}
			var ids []string
			for _, e := range got.Entities {
				ids = append(ids, e.Identifier)
			}
			text, _ := json.Marshal(raw)
			if !slices.Equal(ids, want) {
				t.Fatalf("%s:\nfound %v\nwant  %v", text, ids, want)
			}
			w := &narrower{v: c.viewer(t.Context(), c.reader(t.Context()), searchAccount, m), now: c.now()}
			if w.narrow(m.blueprints["x"], g) != nil {
				narrowed++
			}
			found += len(ids)
		}
		if narrowed < 80 || found < 800 {
			t.Errorf("%d queries were narrowed, %d entities found: the test asks too little", narrowed, found)
		}
	})
}

// TestSearchPlans: a search by an indexed property or a relation walks no table.
func TestSearchPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	c := searchCatalog(t, db)
	_ = c
	of := func(s *selection) string {
		text, args := pageText(searchAccount, "x", "", s)
		for n := len(args) + 1; n > 0; n-- {
			text = strings.ReplaceAll(text, fmt.Sprint("$", n), "'1'")
		}
		return text
	}
	const found = "SEARCH e USING INDEX sqlite_autoindex_catalog_entities_1 (account=? AND blueprint=? AND k=?)"
	sqldbtest.Plans(t, db, map[string]string{
		of(byValues(searchAccount, "x", "name", []string{"sa"})):        found,
		of(bySpan(searchAccount, "x", "n", "n1", "n2")):                 found,
		of(byTargets(searchAccount, "x", "one", "x", []string{"e001"})): found,
		of(bySources(searchAccount, "x", []int64{1})):                   found,
	})
}
