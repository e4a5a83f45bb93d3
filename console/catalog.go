package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
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
	return &page{Title: "Catalog", Section: "catalog", view: "catalog", Live: liveChanges, Body: b}, nil
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
		out.Entities = b.sortedPage(q.in("page"), out.Entities)
	} else if out.Next != "" {
		b.Next = b.address("next", out.Next)
	}
	b.table(out.Entities)
	return &page{Title: bp.Name(), Section: "catalog", view: "entities", Live: liveChanges, Body: b}, nil
}

// sortedPage is a page of a sorted list, by its number.
func (b *catalogBody) sortedPage(number string, list []entity) []entity {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n*tablePage > len(list) {
		n = 0
	}
	if n > 0 {
		b.First = b.address()
	}
	if (n+1)*tablePage < len(list) {
		b.Next = b.address("page", strconv.Itoa(n+1))
	}
	return list[n*tablePage : min((n+1)*tablePage, len(list))]
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
		out = append(out, textRule(b.Text))
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
