package console

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"

	"github.com/berth-registry/berth/catalog/mapping"
)

type builderBody struct {
	List    []*blueprint
	Picture template.HTML
	B       *blueprint
	Raw     string
	Types   []string
}

// propertyTypes are what the form of a new property offers: a type, and a format behind a
// slash.
var propertyTypes = []string{"string", "string/url", "string/markdown", "string/date-time", "string/email", "string/user", "string/team", "number", "boolean", "array", "object"}

// builder shows the model.
func (c *Console) builder(q *request) (*page, error) {
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	return &page{Title: "Builder", Section: "builder", view: "builder", Live: liveChanges, Body: &builderBody{List: list, Picture: modelPicture(list)}}, nil
}

// builderOne shows a blueprint.
func (c *Console) builderOne(q *request) (*page, error) {
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	b := &builderBody{List: list, B: find(list, q.PathValue("blueprint")), Types: propertyTypes}
	if b.B == nil {
		return errorPage(http.StatusNotFound, "No such blueprint", "There is no blueprint "+q.PathValue("blueprint")+"."), nil
	}
	b.Raw = indented(editable(b.B.raw))
	return &page{Title: b.B.Name(), Section: "builder", view: "blueprint", Live: liveChanges, Body: b}, nil
}

// editable leaves out what the API writes itself.
func editable(doc map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range doc {
		switch k {
		case "createdAt", "updatedAt", "createdBy", "updatedBy", "id", "ok":
		default:
			out[k] = v
		}
	}
	return out
}

var notInIdentifier = regexp.MustCompile(`[^A-Za-z0-9@_.:/=-]+`)

// identifier makes one of a title.
func identifier(title string) string {
	return notInIdentifier.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "_")
}

// makeBlueprint takes the form of a new one.
func (c *Console) makeBlueprint(q *request) (*page, error) {
	return c.submit(q, forms{"create": {text: "The blueprint {title} was made.", to: "/builder", in: call(func(q *request) any {
		return catalogCall{http.MethodPost, "blueprints", map[string]any{"identifier": cmp.Or(q.in("identifier"), identifier(q.in("title"))), "title": q.in("title"), "description": q.in("description"),
			"schema": map[string]any{"properties": map[string]any{}, "required": []any{}}, "relations": map[string]any{}}}
	})}}, (*Console).builder)
}

// changeBlueprint takes the forms of a blueprint's page. They change the document and put
// it back as a whole.
func (c *Console) changeBlueprint(q *request) (*page, error) {
	id := q.PathValue("blueprint")
	var got struct{ Blueprint map[string]any }
	path := "blueprints" + pathOne(id)
	if err := c.api.Catalog(q.ctx, http.MethodGet, path, nil, &got); err != nil {
		return nil, err
	}
	doc := editable(got.Blueprint)
	put := func(f func(q *request) error) func(*request) (any, error) {
		return func(q *request) (any, error) {
			err := f(q)
			return catalogCall{http.MethodPut, path, doc}, err
		}
	}
	to := "/builder/{blueprint}"
	return c.submit(q, forms{
		"relation":        {text: "The relation {title} was made.", to: to, in: put(func(q *request) error { return addRelation(doc, q) })},
		"delete-relation": {lost: loses("the relation {id} of {blueprint}", "The links that entities have by it are gone."), text: "The relation was removed.", to: to, in: put(func(q *request) error { return remove(doc, q.in("id"), "relations") })},
		"property":        {text: "The property {title} was added.", to: to, in: put(func(q *request) error { return addProperty(doc, q) })},
		"delete-property": {lost: loses("the property {id} of {blueprint}", "Its values are gone from all entities."), text: "The property was removed.", to: to, in: put(func(q *request) error { return remove(doc, q.in("id"), "schema", "properties") })},
		"document": {text: "The blueprint was saved.", to: to, in: func(q *request) (any, error) {
			doc, err := jsonObject(q.PostFormValue("document"))
			return catalogCall{http.MethodPut, path, doc}, err
		}},
		"delete": {lost: loses("the blueprint {blueprint}", "It must have no entities, and no other blueprint may relate to it."), text: "The blueprint was deleted.", to: "/builder", in: call(func(*request) any { return catalogCall{http.MethodDelete, path, nil} })},
	}, (*Console).builderOne)
}

// member returns an object within an object, made when it is missing.
func member(doc map[string]any, path ...string) map[string]any {
	for _, k := range path {
		inner, ok := doc[k].(map[string]any)
		if !ok {
			inner = map[string]any{}
			doc[k] = inner
		}
		doc = inner
	}
	return doc
}

func addRelation(doc map[string]any, q *request) error {
	id := cmp.Or(q.in("identifier"), identifier(q.in("title")))
	list := member(doc, "relations")
	if _, have := list[id]; have {
		return wrong("There is a relation %s already.", id)
	}
	r := map[string]any{"title": q.in("title"), "target": q.in("target"), "required": q.in("required") != "", "many": q.in("limit") == "many"}
	if d := q.in("description"); d != "" {
		r["description"] = d
	}
	list[id] = r
	return nil
}

func addProperty(doc map[string]any, q *request) error {
	id := cmp.Or(q.in("identifier"), identifier(q.in("title")))
	list := member(doc, "schema", "properties")
	if _, have := list[id]; have {
		return wrong("There is a property %s already.", id)
	}
	kind, format, _ := strings.Cut(q.in("type"), "/")
	p := map[string]any{"title": q.in("title"), "type": kind}
	if format != "" {
		p["format"] = format
	}
	if text := q.in("enum"); text != "" {
		var values []any
		for _, v := range strings.Split(text, ",") {
			values = append(values, strings.TrimSpace(v))
		}
		p["enum"] = values
	}
	list[id] = p
	if q.in("required") != "" {
		schema := member(doc, "schema")
		required, _ := schema["required"].([]any)
		schema["required"] = append(required, id)
	}
	return nil
}

func remove(doc map[string]any, id string, path ...string) error {
	list := member(doc, path...)
	if _, have := list[id]; !have {
		return wrong("There is no %s any more.", id)
	}
	delete(list, id)
	schema := member(doc, "schema")
	if required, ok := schema["required"].([]any); ok && path[0] == "schema" {
		var left []any
		for _, v := range required {
			if v != id {
				left = append(left, v)
			}
		}
		schema["required"] = append([]any{}, left...)
	}
	return nil
}

type mappingBody struct {
	Config     string
	Sample     string
	Repository string
	Tried      []mapping.Result
	Problem    string
	Notices    []notice
	Pending    []pending
	Unresolved []dangling
	State      syncState
	Names      []string
	Links      bool // links to what is not there were looked for, which reads all links
}

// syncState is how the last synchronisation went.
type syncState struct {
	Status                         string
	LastResyncStart, LastResyncEnd string
	Report                         struct {
		Done, Total, Created, Updated, Deleted, Unchanged, Failed int64
		Error, Skipped                                            string
	}
}

type notice struct {
	Region, Kind, Resource, Blueprint, Entity, Code, Path, Message, At string
}

type pending struct {
	Region, Kind, Resource, Reason, Due string
	Tries                               int64
}

type dangling struct {
	Blueprint, Identifier, Relation, Target string
	Names                                   []string
}

// mapping shows how resources become entities, and tries other configurations.
func (c *Console) mapping(q *request) (*page, error) {
	b := &mappingBody{Repository: q.in("repository"), Links: q.in("links") != ""}
	var got struct {
		Integration struct {
			Config      json.RawMessage
			ResyncState syncState
		}
	}
	if err := c.api.Catalog(q.ctx, http.MethodGet, "integration/berth", nil, &got); err != nil {
		return nil, err
	}
	b.Config, b.State = indented(string(got.Integration.Config)), got.Integration.ResyncState
	var n struct {
		Notices    []notice
		Pending    []pending
		Unresolved []dangling
	}
	if err := c.api.Catalog(q.ctx, http.MethodGet, query("berth/notices", "links", map[bool]string{false: "false"}[b.Links]), nil, &n); err != nil {
		return nil, err
	}
	b.Notices, b.Pending, b.Unresolved = n.Notices, n.Pending, n.Unresolved
	var out struct{ Repositories []foundRepository }
	if c.api.Berth(q.optional().ctx, "FindRepositories", map[string]any{"maxResults": 20}, &out) == nil { // suggestions
		for _, r := range out.Repositories {
			b.Names = append(b.Names, r.RepositoryName)
		}
	}
	if q.in("do") == "try" {
		if err := c.try(q, b); err != nil {
			b.Problem = c.tell(err)
		}
	}
	return &page{Title: "Mapping", Section: "mapping", view: "mapping", Live: liveChanges, Body: b}, nil
}

// try evaluates what was typed on a repository as it is.
func (c *Console) try(q *request, b *mappingBody) error {
	b.Config = q.PostFormValue("config")
	name := cmp.Or(b.Repository, "")
	if name == "" && len(b.Names) > 0 {
		name = b.Names[0]
	}
	if name == "" {
		return wrong("There is no repository yet to try it on.")
	}
	b.Repository = name
	doc, err := c.resource(q, name)
	if err != nil {
		return err
	}
	results, err := c.host.Map(q.ctx, []byte(b.Config), "AWS::ECR::Repository", doc)
	if err != nil {
		return &inputError{text: err.Error()}
	}
	b.Tried = results
	return nil
}

// resource is a repository's document, as the Cloud Control API has it.
func (c *Console) resource(q *request, name string) (json.RawMessage, error) {
	const kind = "AWS::ECR::Repository"
	out, err := ask[cloudcontrol.GetResourceOutput](q.ctx, c.api, &cloudcontrol.GetResourceInput{TypeName: aws.String(kind), Identifier: aws.String(name)})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(aws.ToString(out.ResourceDescription.Properties)), nil
}

// changeMapping tries, saves, or asks for a synchronisation.
func (c *Console) changeMapping(q *request) (*page, error) {
	if q.in("do") == "try" {
		return c.mapping(q)
	}
	return c.submit(q, forms{
		"save": {text: "Resources are mapped by this from now on; a synchronisation has begun.", to: "/mapping", cli: "berth mapping set config.json", in: func(q *request) (any, error) {
			doc, err := jsonObject(q.PostFormValue("config"))
			return catalogCall{http.MethodPatch, "integration/berth/config", map[string]any{"config": doc}}, err
		}},
		"sync": {text: "A synchronisation has begun.", to: "/mapping", cli: "berth sync", in: call(func(*request) any {
			return catalogCall{http.MethodPatch, "integration/berth", map[string]any{}}
		})},
	}, (*Console).mapping)
}
