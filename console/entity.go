package console

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
)

// related are entities that are linked with one, by one relation.
type related struct {
	Blueprint *blueprint
	Relation  relation
	Back      bool // they name it
	List      []entity
	More      bool
	Missing   []string // what it names and is not there
}

type entityBody struct {
	B       *blueprint
	E       *entity
	Fields  []entityField
	Related []related
	Graph   template.HTML
	Depth   string
	Tab     string
	Changes []changeLine
	Part    *part
	Raw     string
}

// entityField is a property with its value.
type entityField struct {
	property
	Cell cell
}

// changeLine is a line of the catalog's log.
type changeLine struct {
	Action  string
	Status  string
	Message string
	Trigger struct {
		By     struct{ UserID string }
		Origin string
		At     string
	}
	Diff struct{ Before, After any }
}

const relatedShown = 25

// entity shows one, with what it is related to, both ways.
func (c *Console) entity(q *request) (*page, error) {
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	b := &entityBody{B: find(list, q.PathValue("blueprint")), Tab: cmp.Or(q.in("tab"), "overview"), Depth: cmp.Or(q.in("depth"), "1")}
	if b.B == nil {
		return errorPage(http.StatusNotFound, "No such blueprint", "There is no blueprint "+q.PathValue("blueprint")+"."), nil
	}
	if b.E, err = c.readEntity(q, b.B.Identifier, q.PathValue("id")); err != nil {
		return nil, err
	}
	for _, p := range b.B.Properties() {
		b.Fields = append(b.Fields, entityField{p, valueCell(b.E.Properties[p.ID], &p)})
	}
	b.Raw = indented(map[string]any{"identifier": b.E.Identifier, "title": b.E.Title, "team": b.E.Team, "properties": b.E.Properties, "relations": b.E.Relations})
	switch b.Tab {
	case "graph":
		b.Graph, err = c.neighbourhood(q, list, b.E, int(b.Depth[0]-'0'))
	case "changes":
		b.Changes, err = c.changesOf(q, b.E)
	default:
		b.Related, err = c.related(q, list, b.E, relatedShown)
	}
	b.Part = c.part(q, err)
	return &page{Title: b.E.Name(), Section: "catalog", view: "entity", Live: liveChanges, Body: b}, nil
}

func (c *Console) readEntity(q *request, blueprint, id string) (*entity, error) {
	var out struct{ Entity *entity }
	err := c.api.Catalog(q.ctx, http.MethodGet, "blueprints"+pathOne(blueprint)+"/entities"+pathOne(id), nil, &out)
	if out.Entity != nil {
		out.Entity.Blueprint = blueprint
	}
	return out.Entity, err
}

// related finds the neighbours of an entity: what it names, and what names it.
func (c *Console) related(q *request, model []*blueprint, e *entity, limit int) ([]related, error) {
	var out []related
	own := find(model, e.Blueprint)
	for _, r := range own.Links() {
		ids := names(e.Relations[r.ID])
		if len(ids) == 0 {
			continue
		}
		one := related{Blueprint: find(model, r.Target), Relation: r, More: len(ids) > limit}
		got, _, err := c.found(q, r.Target, limit, map[string]any{"property": "$identifier", "operator": "in", "value": ids[:min(len(ids), limit)]})
		if err != nil {
			return nil, err
		}
		for _, id := range ids[:min(len(ids), limit)] {
			if !slices.ContainsFunc(got, func(x entity) bool { return x.Identifier == id }) {
				one.Missing = append(one.Missing, id)
			}
		}
		one.List = got
		out = append(out, one)
	}
	for _, bp := range model {
		for _, r := range bp.Links() {
			if r.Target != e.Blueprint {
				continue
			}
			got, next, err := c.found(q, bp.Identifier, limit, map[string]any{"relation": r.ID, "targetProperty": "$identifier", "operator": "=", "value": e.Identifier})
			if err != nil {
				return nil, err
			}
			if len(got) > 0 {
				out = append(out, related{Blueprint: bp, Relation: r, Back: true, List: got, More: next != ""})
			}
		}
	}
	for i := range out {
		for j := range out[i].List {
			out[i].List[j].Blueprint = out[i].Blueprint.Identifier
		}
	}
	return out, nil
}

func (c *Console) changesOf(q *request, e *entity) ([]changeLine, error) {
	var out struct{ Audits []changeLine }
	err := c.api.Catalog(q.ctx, http.MethodGet, query("audit-log", "blueprint", e.Blueprint, "entity", e.Identifier, "limit", "50"), nil, &out)
	return out.Audits, err
}

// entityForms make, change and delete entities.
var entityForms = forms{
	"save": {text: "{id} was saved.", to: "/catalog/{blueprint}/{id}", in: func(q *request) (any, error) {
		doc, err := jsonObject(q.PostFormValue("document"))
		return catalogCall{http.MethodPut, "blueprints" + pathOne(q.PathValue("blueprint")) + "/entities" + pathOne(q.PathValue("id")), doc}, err
	}},
	"create": {text: "{identifier} was made.", to: "/catalog/{blueprint}", in: func(q *request) (any, error) {
		doc := map[string]any{"identifier": q.in("identifier")}
		if t := q.in("title"); t != "" {
			doc["title"] = t
		}
		if text := q.in("properties"); text != "" {
			props, err := jsonObject(text)
			if err != nil {
				return nil, err
			}
			doc["properties"] = props
		}
		return catalogCall{http.MethodPost, "blueprints" + pathOne(q.PathValue("blueprint")) + "/entities", doc}, nil
	}},
	"delete": {text: "{id} was deleted.", to: "/catalog/{blueprint}", in: call(func(q *request) any {
		return catalogCall{http.MethodDelete, "blueprints" + pathOne(q.PathValue("blueprint")) + "/entities" + pathOne(q.PathValue("id")), nil}
	})},
}

// jsonObject reads an object that somebody typed.
func jsonObject(text string) (map[string]any, error) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc == nil {
		return nil, wrong("That is no JSON object: %v", err)
	}
	return doc, nil
}

func (c *Console) makeEntity(q *request) (*page, error) {
	return c.submit(q, entityForms, (*Console).entities)
}

func (c *Console) changeEntity(q *request) (*page, error) {
	return c.submit(q, entityForms, (*Console).entity)
}
