package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

const here = arn.Account("111111111111")

var (
	then = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	me   = catalog.Actor{ID: "arn:aws:iam::111111111111:user/me", Origin: "API"}
)

// rig is a catalog on a database, with a clock.
type rig struct {
	*catalog.Catalog
	db  *sqldb.DB
	now time.Time
}

func each(t *testing.T, fn func(*testing.T, *rig)) {
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), "catalog", catalog.Migrations()); err != nil {
			t.Fatal(err)
		}
		r := &rig{db: db, now: then}
		r.Catalog = catalog.New(db, secret.NewMaster(make([]byte, 32)), catalog.Options{Now: func() time.Time { return r.now }, Calculator: fakeJQ{}})
		fn(t, r)
	})
}

// fakeJQ knows one expression.
type fakeJQ struct{}

func (fakeJQ) Calculate(_ context.Context, texts map[string]string, document any) (map[string]any, error) {
	out := map[string]any{}
	for id, text := range texts {
		if text == ".title | ascii_upcase" {
			out[id] = "UPPER " + document.(map[string]any)["title"].(string)
		}
	}
	return out, nil
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

func (r *rig) blueprint(t *testing.T, text string) {
	t.Helper()
	if _, err := r.CreateBlueprint(t.Context(), here, object(t, text), me); err != nil {
		t.Fatal(err)
	}
}

// put writes an entity from a document as the API takes it.
func (r *rig) put(t *testing.T, blueprint, text string, mode catalog.Mode) error {
	t.Helper()
	m := object(t, text)
	p := catalog.Put{Blueprint: blueprint, Mode: mode, By: me, Team: m["team"]}
	p.Identifier, _ = m["identifier"].(string)
	if title, ok := m["title"].(string); ok {
		p.Title = &title
	}
	p.Properties, _ = m["properties"].(map[string]any)
	p.Relations, _ = m["relations"].(map[string]any)
	_, err := r.PutEntity(t.Context(), here, p)
	return err
}

func (r *rig) must(t *testing.T, blueprint, text string) {
	t.Helper()
	if err := r.put(t, blueprint, text, catalog.Create); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) get(t *testing.T, blueprint, id string) *catalog.Entity {
	t.Helper()
	e, err := r.Entity(t.Context(), here, blueprint, id, catalog.View{Scores: true})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func wantCode(t *testing.T, what string, err error, code catalog.Code) {
	t.Helper()
	if catalog.CodeOf(err) != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

const teamBlueprint = `{"identifier":"squad","title":"Squad","schema":{"properties":{"size":{"type":"number"}}}}`

const thingBlueprint = `{"identifier":"thing","title":"Thing","description":"d","x-kept":{"a":1},
	"schema":{"properties":{
		"name":{"type":"string","minLength":2,"x-ui":"wide"},"level":{"type":"number","minimum":0,"default":3},"on":{"type":"boolean"},
		"since":{"type":"string","format":"date-time"},"link":{"type":"string","format":"url"},"kind":{"type":"string","enum":["a","b"]},
		"labels":{"type":"array","items":{"type":"string"}},"raw":{"type":"object"}},"required":["name"]},
	"relations":{"squad":{"target":"squad","title":"Squad"},"parts":{"target":"thing","many":true},"main":{"target":"thing"}},
	"mirrorProperties":{"squadSize":{"title":"Size","path":"squad.size"},"partNames":{"path":"parts.name"},"squadTitle":{"path":"squad.$title"}},
	"calculationProperties":{"loud":{"calculation":".title | ascii_upcase","type":"string"},"bad":{"calculation":"nonsense","type":"string"}},
	"aggregationProperties":{"partCount":{"title":"n","target":"thing","calculationSpec":{"func":"count","calculationBy":"entities"},"pathFilter":[{"path":["parts"]}]},
		"partLevels":{"title":"n","target":"thing","calculationSpec":{"func":"sum","calculationBy":"property","property":"level"},"pathFilter":[{"path":["parts"]}]}}}`

func TestEntities(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.blueprint(t, teamBlueprint)
		r.blueprint(t, thingBlueprint)
		r.must(t, "squad", `{"identifier":"red","title":"Red","properties":{"size":7}}`)
		r.must(t, "thing", `{"identifier":"p1","properties":{"name":"part one","level":1}}`)
		r.must(t, "thing", `{"identifier":"p2","properties":{"name":"part two"}}`)
		r.must(t, "thing", `{"identifier":"a/b:c@d","title":"A","team":["x","y"],"properties":{"name":"whole","on":true,"labels":["l1","l2"]},
			"relations":{"squad":"red","parts":["p2","p1"]}}`)
		e := r.get(t, "thing", "a/b:c@d")
		want := map[string]any{"name": "whole", "level": 3.0, "on": true, "since": nil, "link": nil, "kind": nil, "labels": []any{"l1", "l2"}, "raw": nil,
			"squadSize": 7.0, "squadTitle": "Red", "partNames": []any{"part two", "part one"}, "loud": "UPPER A", "bad": nil, "partCount": 2.0, "partLevels": 4.0}
		if d := cmp.Diff(want, e.Properties); d != "" {
			t.Errorf("properties: %s", d)
		}
		if d := cmp.Diff(map[string]any{"squad": "red", "parts": []any{"p2", "p1"}, "main": nil}, e.Relations); d != "" {
			t.Errorf("relations: %s", d)
		}
		for what, c := range map[string]struct {
			text string
			mode catalog.Mode
			code catalog.Code
		}{
			"taken":            {`{"identifier":"p1","properties":{"name":"xx"}}`, catalog.Create, catalog.Taken},
			"unknown property": {`{"identifier":"n","properties":{"name":"xx","zz":1}}`, catalog.Create, catalog.Invalid},
			"derived":          {`{"identifier":"n","properties":{"name":"xx","squadSize":1}}`, catalog.Create, catalog.Invalid},
			"required":         {`{"identifier":"n","properties":{}}`, catalog.Create, catalog.Invalid},
			"too short":        {`{"identifier":"n","properties":{"name":"x"}}`, catalog.Create, catalog.Invalid},
			"type":             {`{"identifier":"n","properties":{"name":"xx","level":"3"}}`, catalog.Create, catalog.Invalid},
			"enum":             {`{"identifier":"n","properties":{"name":"xx","kind":"c"}}`, catalog.Create, catalog.Invalid},
			"url":              {`{"identifier":"n","properties":{"name":"xx","link":"no link"}}`, catalog.Create, catalog.Invalid},
			"date":             {`{"identifier":"n","properties":{"name":"xx","since":"yesterday"}}`, catalog.Create, catalog.Invalid},
			"item":             {`{"identifier":"n","properties":{"name":"xx","labels":[1]}}`, catalog.Create, catalog.Invalid},
			"space":            {`{"identifier":"n n","properties":{"name":"xx"}}`, catalog.Create, catalog.Invalid},
			"dots":             {`{"identifier":"..","properties":{"name":"xx"}}`, catalog.Create, catalog.Invalid},
			"no target":        {`{"identifier":"n","properties":{"name":"xx"},"relations":{"squad":"blue"}}`, catalog.Create, catalog.TargetMissing},
			"unknown relation": {`{"identifier":"n","properties":{"name":"xx"},"relations":{"zz":"blue"}}`, catalog.Create, catalog.Invalid},
			"list for one":     {`{"identifier":"n","properties":{"name":"xx"},"relations":{"squad":["red","blue"]}}`, catalog.Create, catalog.Invalid},
		} {
			wantCode(t, what, r.put(t, "thing", c.text, c.mode), c.code)
		}
		if _, err := r.Entity(t.Context(), here, "thing", "n", catalog.View{}); catalog.CodeOf(err) != catalog.NotFound {
			t.Errorf("a refused entity is there: %v", err)
		}
		// Merge changes what is sent, null clears; the same again changes nothing.
		r.now = then.Add(time.Hour)
		if err := r.put(t, "thing", `{"identifier":"a/b:c@d","properties":{"on":null,"kind":"b"},"relations":{"squad":null}}`, catalog.Merge); err != nil {
			t.Fatal(err)
		}
		e = r.get(t, "thing", "a/b:c@d")
		if e.Properties["on"] != nil || e.Properties["kind"] != "b" || e.Properties["name"] != "whole" || e.Relations["squad"] != nil || !e.UpdatedAt.Equal(r.now) {
			t.Errorf("after a merge: %v %v %v", e.Properties, e.Relations, e.UpdatedAt)
		}
		r.now = then.Add(2 * time.Hour)
		if err := r.put(t, "thing", `{"identifier":"a/b:c@d","properties":{"kind":"b"}}`, catalog.Merge); err != nil || !r.get(t, "thing", "a/b:c@d").UpdatedAt.Equal(then.Add(time.Hour)) {
			t.Errorf("a merge that changes nothing changed the time (%v)", err)
		}
		// Replace clears what is not sent.
		if err := r.put(t, "thing", `{"identifier":"a/b:c@d","properties":{"name":"again"}}`, catalog.Replace); err != nil {
			t.Fatal(err)
		}
		e = r.get(t, "thing", "a/b:c@d")
		if e.Properties["kind"] != nil || len(e.Relations["parts"].([]any)) != 0 || e.Title != "a/b:c@d" {
			t.Errorf("after a replacement: %v %v %q", e.Properties, e.Relations, e.Title)
		}
	})
}

func TestRelations(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.blueprint(t, `{"identifier":"home","title":"H","schema":{"properties":{}}}`)
		r.blueprint(t, `{"identifier":"guest","title":"G","schema":{"properties":{}},"relations":{"home":{"target":"home","required":true},"friends":{"target":"guest","many":true}}}`)
		wantCode(t, "a required relation is missing", r.put(t, "guest", `{"identifier":"g"}`, catalog.Create), catalog.Invalid)
		r.must(t, "home", `{"identifier":"h1"}`)
		r.must(t, "guest", `{"identifier":"g1","relations":{"home":"h1"}}`)
		r.must(t, "guest", `{"identifier":"g2","relations":{"home":"h1","friends":["g1","g2"]}}`)
		wantCode(t, "an entity that others need", r.DeleteEntity(t.Context(), here, "home", "h1", false, me), catalog.HasDependents)
		if err := r.DeleteEntity(t.Context(), here, "guest", "g1", false, me); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]any{"g2"}, r.get(t, "guest", "g2").Relations["friends"]); d != "" {
			t.Errorf("a friend that went: %s", d)
		}
		// A name of its own follows an entity.
		if _, err := r.PutEntity(t.Context(), here, catalog.Put{Blueprint: "home", Identifier: "h1", Rename: "h/2", Mode: catalog.Merge, MustExist: true, By: me}); err != nil {
			t.Fatal(err)
		}
		if got := r.get(t, "guest", "g2").Relations["home"]; got != "h/2" {
			t.Errorf("after renaming its target: %v", got)
		}
		if err := r.DeleteEntity(t.Context(), here, "home", "h/2", true, me); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Count(t.Context(), here, "guest"); n != 0 || err != nil {
			t.Errorf("dependents are left: %d, %v", n, err)
		}
		p := catalog.Put{Blueprint: "guest", Identifier: "g3", Relations: map[string]any{"home": "h3"}, By: me, ValidateOnly: true, CreateMissing: true}
		if _, err := r.PutEntity(t.Context(), here, p); err != nil {
			t.Fatal(err)
		}
		if n, _ := r.Count(t.Context(), here, "home"); n != 0 {
			t.Error("validating made an entity")
		}
		p.ValidateOnly = false
		if _, err := r.PutEntity(t.Context(), here, p); err != nil {
			t.Fatal(err)
		}
		if got := r.get(t, "home", "h3"); got.Title != "h3" {
			t.Errorf("made on the way: %+v", got)
		}
	})
}

func TestBlueprints(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.blueprint(t, teamBlueprint)
		r.blueprint(t, thingBlueprint)
		b, err := r.Blueprint(t.Context(), here, "thing")
		if err != nil {
			t.Fatal(err)
		}
		doc := b.JSON()
		if fmt.Sprint(doc["x-kept"]) != "map[a:1]" || doc["schema"].(map[string]any)["properties"].(map[string]any)["name"].(map[string]any)["x-ui"] != "wide" {
			t.Errorf("unknown keys are lost: %v", doc)
		}
		for what, text := range map[string]string{
			"no title":        `{"identifier":"x","schema":{"properties":{}}}`,
			"no schema":       `{"identifier":"x","title":"x"}`,
			"type":            `{"identifier":"x","title":"x","schema":{"properties":{"a":{"type":"text"}}}}`,
			"format":          `{"identifier":"x","title":"x","schema":{"properties":{"a":{"type":"string","format":"odd"}}}}`,
			"name":            `{"identifier":"x","title":"x","schema":{"properties":{"a b":{"type":"string"}}}}`,
			"target":          `{"identifier":"x","title":"x","schema":{"properties":{}},"relations":{"r":{"target":"nothing"}}}`,
			"many+required":   `{"identifier":"x","title":"x","schema":{"properties":{}},"relations":{"r":{"target":"x","many":true,"required":true}}}`,
			"mirror":          `{"identifier":"x","title":"x","schema":{"properties":{}},"relations":{"r":{"target":"x"}},"mirrorProperties":{"m":{"path":"r.nothing"}}}`,
			"a name twice":    `{"identifier":"x","title":"x","schema":{"properties":{"m":{"type":"string"}}},"relations":{"r":{"target":"x"}},"mirrorProperties":{"m":{"path":"r.$title"}}}`,
			"required":        `{"identifier":"x","title":"x","schema":{"properties":{},"required":["a"]}}`,
			"default":         `{"identifier":"x","title":"x","schema":{"properties":{"a":{"type":"number","default":"x"}}}}`,
			"pattern":         `{"identifier":"x","title":"x","schema":{"properties":{"a":{"type":"string","pattern":"("}}}}`,
			"bad identifier":  `{"identifier":"x y","title":"x","schema":{"properties":{}}}`,
			"aggregation":     `{"identifier":"x","title":"x","schema":{"properties":{}},"aggregationProperties":{"a":{"target":"x","calculationSpec":{"func":"sum","calculationBy":"entities"}}}}`,
			"a wrong section": `{"identifier":"x","title":"x","schema":{"properties":{}},"relations":[]}`,
		} {
			_, err := r.CreateBlueprint(t.Context(), here, object(t, text), me)
			wantCode(t, what, err, catalog.Invalid)
		}
		_, err = r.CreateBlueprint(t.Context(), here, object(t, teamBlueprint), me)
		wantCode(t, "twice", err, catalog.Taken)
		// One that is shipped gives way, once.
		own := object(t, `{"identifier":"environment","title":"Mine","schema":{"properties":{"own":{"type":"string"}}}}`)
		if _, err := r.CreateBlueprint(t.Context(), here, own, me); err != nil {
			t.Errorf("replacing a shipped one: %v", err)
		}
		_, err = r.CreateBlueprint(t.Context(), here, own, me)
		wantCode(t, "a shipped one that was replaced", err, catalog.Taken)

		r.must(t, "squad", `{"identifier":"red","properties":{"size":7}}`)
		r.must(t, "thing", `{"identifier":"a","properties":{"name":"nn","level":5},"relations":{"squad":"red"}}`)
		wantCode(t, "with entities", r.DeleteBlueprint(t.Context(), here, "thing", me), catalog.HasDependents)
		wantCode(t, "that is targeted", r.DeleteBlueprint(t.Context(), here, "squad", me), catalog.HasDependents)
		_, err = r.ReplaceBlueprint(t.Context(), here, "squad", object(t, `{"title":"S","schema":{"properties":{"size":{"type":"string"}}}}`), me)
		wantCode(t, "a type that changes under values", err, catalog.Invalid)
		// Renaming takes everything along.
		renamed := object(t, teamBlueprint)
		renamed["identifier"] = "crew"
		if _, err := r.ReplaceBlueprint(t.Context(), here, "squad", renamed, me); err != nil {
			t.Fatal(err)
		}
		if e := r.get(t, "thing", "a"); e.Properties["squadSize"] != 7.0 {
			t.Errorf("after renaming its target's blueprint: %v", e.Properties)
		}
		if b, _ := r.Blueprint(t.Context(), here, "thing"); b.Relations["squad"].Target != "crew" {
			t.Errorf("the relation targets %q", b.Relations["squad"].Target)
		}
		// What goes from a blueprint goes from its entities.
		if _, err := r.PatchBlueprint(t.Context(), here, "thing", object(t, `{"schema":{"properties":{"name":{"type":"string"}}},"aggregationProperties":{},"mirrorProperties":{}}`), me); err != nil {
			t.Fatal(err)
		}
		if _, err := r.PatchBlueprint(t.Context(), here, "thing", object(t, `{"schema":{"properties":{"name":{"type":"string"},"level":{"type":"string"}}}}`), me); err != nil {
			t.Fatal(err)
		}
		if e := r.get(t, "thing", "a"); e.Properties["level"] != nil {
			t.Errorf("a value outlived its property: %v", e.Properties)
		}
		changes, err := r.Changes(t.Context(), here, catalog.ChangesQuery{Blueprint: "thing", Entity: "a"})
		if err != nil || len(changes) == 0 || changes[len(changes)-1].Action != "CREATE" || changes[0].By.ID != me.ID {
			t.Errorf("changes: %v %+v", err, changes)
		}
	})
}
