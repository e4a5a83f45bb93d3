package console

type searchBody struct {
	Text         string
	Repositories []foundRepository
	Entities     []entity
	RepoPart     *part
	EntityPart   *part
}

// foundEach is how many entities of each blueprint a search shows.
const foundEach = 10

// searchCatalog finds entities of all blueprints but images, which their repositories show.
func (c *Console) searchCatalog(q *request, text string) ([]entity, error) {
	list, err := c.blueprints(q)
	if err != nil {
		return nil, err
	}
	var out []entity
	for _, bp := range list {
		if bp.Identifier == "ecr_image" {
			continue
		}
		found, _, err := c.found(q, bp.Identifier, foundEach, textRule(text))
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			e.Blueprint = bp.Identifier
			out = append(out, e)
		}
	}
	return out, nil
}

// textRule fits entities with a text in their identifier or title.
func textRule(text string) map[string]any {
	like := func(property string) any {
		return map[string]any{"property": property, "operator": "contains", "value": text}
	}
	return map[string]any{"combinator": "or", "rules": []any{like("$identifier"), like("$title")}}
}

// search finds repositories by name and entities by title or identifier.
func (c *Console) search(q *request) (*page, error) {
	b := searchBody{Text: q.in("q")}
	if b.Text != "" {
		var out struct{ Repositories []foundRepository }
		err := c.api.Berth(q.ctx, "FindRepositories", map[string]any{"text": b.Text, "maxResults": 20}, &out)
		b.Repositories, b.RepoPart = out.Repositories, c.part(q, err)
		b.Entities, err = c.searchCatalog(q, b.Text)
		b.EntityPart = c.part(q, err)
	}
	return &page{Title: "Search", view: "search", Body: b}, nil
}
