package console

import (
	"net/http"
)

type searchBody struct {
	Text         string
	Repositories []foundRepository
	Entities     []entity
	RepoPart     *part
	EntityPart   *part
}

// search finds repositories by name and entities by title or identifier.
func (c *Console) search(q *request) (*page, error) {
	b := searchBody{Text: q.in("q")}
	if b.Text != "" {
		var out struct{ Repositories []foundRepository }
		err := c.api.Berth(q.ctx, "FindRepositories", map[string]any{"text": b.Text, "maxResults": 20}, &out)
		b.Repositories, b.RepoPart = out.Repositories, c.part(q, err)
		like := func(property string) map[string]any {
			return map[string]any{"property": property, "operator": "contains", "value": b.Text}
		}
		var found struct{ Entities []entity }
		err = c.api.Catalog(q.ctx, http.MethodPost, "entities/search?limit=30", map[string]any{"combinator": "and", "rules": []any{
			map[string]any{"property": "$blueprint", "operator": "!=", "value": "ecr_image"},
			map[string]any{"combinator": "or", "rules": []any{like("$identifier"), like("$title")}}}}, &found)
		b.Entities, b.EntityPart = found.Entities[:min(30, len(found.Entities))], c.part(q, err)
	}
	return &page{Title: "Search", view: "search", Body: b}, nil
}
