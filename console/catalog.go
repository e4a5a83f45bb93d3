package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// property is one of a blueprint's.
type property struct {
	ID          string `json:"-"`
	Title       string
	Type        string
	Format      string
	Description string
	Enum        []any
	EnumColors  map[string]string
	Required    bool `json:"-"`
}

// Name is what people call it.
func (p property) Name() string { return cmp.Or(p.Title, p.ID) }

// relation is one of a blueprint's.
type relation struct {
	ID             string `json:"-"`
	Title          string
	Description    string
	Target         string
	Many, Required bool
}

// Name is what people call it.
func (r relation) Name() string { return cmp.Or(r.Title, r.ID) }

// blueprint is a kind of entities.
type blueprint struct {
	Identifier  string
	Title       string
	Description string
	Icon        string
	Schema      struct {
		Properties map[string]property
		Required   []string
	}
	Relations map[string]relation
	raw       map[string]any
}

// Name is what people call it.
func (b *blueprint) Name() string { return cmp.Or(b.Title, b.Identifier) }

// Properties are in order of their titles; the API keeps no other.
func (b *blueprint) Properties() []property {
	var out []property
	for id, p := range b.Schema.Properties {
		p.ID, p.Required = id, slices.Contains(b.Schema.Required, id)
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y property) int { return strings.Compare(strings.ToLower(x.Name()), strings.ToLower(y.Name())) })
	return out
}

// Links are the relations in order.
func (b *blueprint) Links() []relation {
	var out []relation
	for _, id := range slices.Sorted(maps.Keys(b.Relations)) {
		r := b.Relations[id]
		r.ID = id
		out = append(out, r)
	}
	return out
}

// blueprints reads the model.
func (c *Console) blueprints(q *request) ([]*blueprint, error) {
	var out struct{ Blueprints []json.RawMessage }
	if err := c.api.Catalog(q.ctx, http.MethodGet, "blueprints", nil, &out); err != nil {
		return nil, err
	}
	var list []*blueprint
	for _, text := range out.Blueprints {
		b := &blueprint{}
		if err := json.Unmarshal(text, b); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &b.raw); err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(x, y *blueprint) int {
		return strings.Compare(strings.ToLower(x.Name()), strings.ToLower(y.Name()))
	})
	return list, nil
}

func find(list []*blueprint, id string) *blueprint {
	for _, b := range list {
		if b.Identifier == id {
			return b
		}
	}
	return nil
}

// kindLine is a blueprint with how many entities it has.
type kindLine struct {
	*blueprint
	Count int64
}

type catalogBody struct {
	Kinds   []kindLine
	B       *blueprint
	Columns []column
	Hidden  []column
	Rows    []row
	// what was asked for
	Text, Property, Operator, Value, Sort string
	Cols                                  []string
	Unsorted                              bool
	First, Next, Here                     string
	Problem                               string
}

// catalog lists the blueprints with their entities' number.
func (c *Console) catalog(q *request) (*page, error) {
	b := &catalogBody{}
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	for _, bp := range list {
		var out struct{ Count int64 }
		if err := c.api.Catalog(q.ctx, http.MethodGet, "blueprints"+pathOne(bp.Identifier)+"/entities-count", nil, &out); err != nil {
			return nil, err
		}
		b.Kinds = append(b.Kinds, kindLine{bp, out.Count})
	}
	return &page{Title: "Catalog", Section: "catalog", view: "catalog", Live: "changes", Body: b}, nil
}

// column is one of a table: a property, a relation or one of the entity's own.
type column struct {
	ID, Title string
	Relation  string // the target, for relations
	Property  *property
	Sorted    string // the direction
	Link      string // that sorts by it
}

// row is an entity with its cells.
type row struct {
	*entity
	Cells []cell
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// cell is a value as it is shown.
type cell struct {
	Text  string
	To    string // an address of its own
	Color string // of a chip
	Time  any
	Links []link
	Chips []string
	// Digest says that the text is one, which is shown short.
	Digest bool
	Code   bool
}

type link struct{ Text, To string }

const (
	shownColumns = 7
	tablePage    = 50
	// mostSorted is how many entities a table sorts; a larger one has to be filtered first.
	mostSorted = 1000
)

// columns are a blueprint's, those that are shown first in front.
func columns(b *blueprint) []column {
	var out []column
	for _, r := range b.Links() {
		out = append(out, column{ID: r.ID, Title: r.Name(), Relation: r.Target})
	}
	for _, p := range b.Properties() {
		out = append(out, column{ID: p.ID, Title: p.Name(), Property: &p})
	}
	return append(out, column{ID: "$updatedAt", Title: "Updated"})
}

// entities is the table of a blueprint.
func (c *Console) entities(q *request) (*page, error) {
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	bp := find(list, q.PathValue("blueprint"))
	if bp == nil {
		return errorPage(http.StatusNotFound, "No such blueprint", "There is no blueprint "+q.PathValue("blueprint")+"."), nil
	}
	b := &catalogBody{B: bp, Text: q.in("q"), Property: q.in("property"), Operator: cmp.Or(q.in("operator"), "contains"), Value: q.in("value"), Sort: q.in("sort"), Cols: q.Form["col"]}
	b.Here = pathOf("/catalog", bp.Identifier)
	rules := b.rules()
	limit := tablePage
	if b.Sort != "" {
		limit = mostSorted
	}
	in := map[string]any{"limit": limit}
	if len(rules) > 0 {
		in["query"] = map[string]any{"combinator": "and", "rules": rules}
	}
	if from := q.in("next"); from != "" {
		in["from"] = from
		b.First = b.address()
	}
	var out struct {
		Entities []entity
		Next     string
	}
	if err := c.api.Catalog(q.ctx, http.MethodPost, "blueprints"+pathOne(bp.Identifier)+"/entities/search", in, &out); err != nil {
		if isDenied(err) || codeOf(err) == "" {
			return nil, err
		}
		b.Problem = c.tell(err)
	}
	if b.Sort != "" {
		b.Unsorted = out.Next != ""
		sortEntities(out.Entities, b.Sort)
	} else if out.Next != "" {
		b.Next = b.address("next", out.Next)
	}
	b.table(out.Entities)
	return &page{Title: bp.Name(), Section: "catalog", view: "entities", Live: "changes", Body: b}, nil
}

// address is this table's, with further parts of the query.
func (b *catalogBody) address(pairs ...string) string {
	base := []string{"q", b.Text, "property", b.Property, "operator", b.Operator, "value", b.Value, "sort", b.Sort}
	if b.Property == "" {
		base[5] = ""
	}
	return query(b.Here, append(base, pairs...)...)
}

// rules are the table's filters as the search API has them.
func (b *catalogBody) rules() []any {
	var out []any
	if b.Text != "" {
		like := func(p string) any {
			return map[string]any{"property": p, "operator": "contains", "value": b.Text}
		}
		out = append(out, map[string]any{"combinator": "or", "rules": []any{like("$identifier"), like("$title")}})
	}
	if b.Property == "" {
		return out
	}
	r := map[string]any{"property": b.Property, "operator": b.Operator}
	if _, ok := b.B.Relations[b.Property]; ok {
		r = map[string]any{"relation": b.Property, "targetProperty": "$identifier", "operator": b.Operator}
	}
	switch b.Operator {
	case "isEmpty", "isNotEmpty":
	case "in":
		r["value"] = strings.Fields(strings.ReplaceAll(b.Value, ",", " "))
	default:
		if b.Value == "" {
			return out
		}
		r["value"] = b.typed()
	}
	return append(out, r)
}

// typed is the filter's value in its property's type.
func (b *catalogBody) typed() any {
	switch p := b.B.Schema.Properties[b.Property]; p.Type {
	case "number", "boolean":
		var v any
		if json.Unmarshal([]byte(b.Value), &v) == nil {
			return v
		}
	}
	return b.Value
}

// sortEntities sorts by a column's id, behind a "-" the other way round.
func sortEntities(list []entity, by string) {
	id, down := strings.CutPrefix(by, "-")
	key := func(e *entity) any {
		switch id {
		case "$title":
			return strings.ToLower(e.Name())
		case "$updatedAt":
			return e.UpdatedAt
		}
		if v, ok := e.Properties[id]; ok {
			return v
		}
		return e.Relations[id]
	}
	slices.SortStableFunc(list, func(a, b entity) int {
		n := compare(key(&a), key(&b))
		if down {
			return -n
		}
		return n
	})
}

// compare orders numbers by size, other things by their text, and nothing last.
func compare(a, b any) int {
	x, xok := a.(float64)
	y, yok := b.(float64)
	switch {
	case a == nil || b == nil:
		return cmp.Compare(map[bool]int{true: 1}[a == nil], map[bool]int{true: 1}[b == nil])
	case xok && yok:
		return cmp.Compare(x, y)
	}
	return strings.Compare(strings.ToLower(fmt.Sprint(a)), strings.ToLower(fmt.Sprint(b)))
}

// table makes the columns and the rows.
func (b *catalogBody) table(list []entity) {
	for i, col := range columns(b.B) {
		col.Link, col.Sorted = b.sortLink(col.ID)
		if show := slices.Contains(b.Cols, col.ID); show || len(b.Cols) == 0 && i < shownColumns {
			b.Columns = append(b.Columns, col)
		} else {
			b.Hidden = append(b.Hidden, col)
		}
	}
	for i := range list {
		r := row{entity: &list[i]}
		for _, col := range b.Columns {
			r.Cells = append(r.Cells, cellOf(&list[i], col))
		}
		b.Rows = append(b.Rows, r)
	}
}

func (b *catalogBody) sortLink(id string) (to, now string) {
	other := *b
	other.Sort = id
	switch b.Sort {
	case id:
		other.Sort, now = "-"+id, "ascending"
	case "-" + id:
		other.Sort, now = "", "descending"
	}
	return other.address(), now
}

// cellOf shows an entity's value of a column.
func cellOf(e *entity, col column) cell {
	if col.ID == "$updatedAt" {
		return cell{Time: e.UpdatedAt}
	}
	if col.Relation != "" {
		var out cell
		for _, id := range names(e.Relations[col.ID]) {
			out.Links = append(out.Links, link{id, pathOf("/catalog", col.Relation) + pathOne(id)})
		}
		return out
	}
	return valueCell(e.Properties[col.ID], col.Property)
}

// valueCell shows a property's value.
func valueCell(v any, p *property) cell {
	switch x := v.(type) {
	case nil:
		return cell{}
	case string:
		switch {
		case p != nil && p.Format == "date-time":
			return cell{Time: x}
		case p != nil && (p.Format == "url" || p.Format == "uri"):
			return cell{Text: x, To: webAddress(x)}
		case p != nil && len(p.Enum) > 0:
			return cell{Text: x, Color: cmp.Or(p.EnumColors[x], "lightGray")}
		}
		return cell{Text: x, Digest: digestForm.MatchString(x)}
	case bool:
		return cell{Text: map[bool]string{true: "yes", false: "no"}[x]}
	case []any:
		if list := names(x); len(list) == len(x) {
			return cell{Chips: list}
		}
	case float64:
		return cell{Text: strings.TrimSuffix(fmt.Sprintf("%.2f", x), ".00")}
	}
	return cell{Text: indented(v), Code: true}
}

// webAddress is an address that may be linked to: of the web, or of this console.
func webAddress(s string) string {
	const guide = "https://console.aws.amazon.com/go/view?"
	if rest, ok := strings.CutPrefix(s, guide); ok { // the guide's link property is for this console
		return "/go/view?" + rest
	}
	if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
		return s
	}
	return ""
}

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
	return &page{Title: b.E.Name(), Section: "catalog", view: "entity", Live: "changes", Body: b}, nil
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
