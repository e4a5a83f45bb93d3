package portapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/query"
)

// found answers with entities of a search.
func (s *Service) found(ctx context.Context, q *request, in catalog.Search, with shape) (*catalog.Found, []any, error) {
	in.View = q.view()
	in.User = query.User{Values: map[string]any{"$identifier": q.caller.Principal.ARN, "arn": q.caller.Principal.ARN}, Teams: []any{}}
	f, err := s.catalog.Search(ctx, q.account, in)
	if err != nil {
		return nil, nil, err
	}
	list := make([]any, len(f.Entities))
	for i, e := range f.Entities {
		list[i] = with.entity(e)
	}
	return f, list, nil
}

func (s *Service) entities(ctx context.Context, q *request) (*reply, error) {
	_, list, err := s.found(ctx, q, catalog.Search{Blueprint: q.path["bp"]}, q.shape())
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"entities": list})
}

func parse(raw []byte) (*query.Group, error) {
	g, err := query.Parse(raw)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "%v", err)
	}
	return g, nil
}

// search is POST /v1/entities/search.
func (s *Service) search(ctx context.Context, q *request) (*reply, error) {
	g, err := parse(q.body)
	if err != nil {
		return nil, err
	}
	f, list, err := s.found(ctx, q, catalog.Search{Query: g}, q.shape())
	if err != nil {
		return nil, err
	}
	blueprints := []string{}
	for _, e := range f.Entities {
		if !slices.Contains(blueprints, e.Blueprint) {
			blueprints = append(blueprints, e.Blueprint)
		}
	}
	return ok(map[string]any{"matchingBlueprints": blueprints, "entities": list})
}

// searchBlueprint is POST /v1/blueprints/{bp}/entities/search.
func (s *Service) searchBlueprint(ctx context.Context, q *request) (*reply, error) {
	var in struct {
		Query            json.RawMessage `json:"query"`
		Include, Exclude []string
		Limit            *int   `json:"limit"`
		From             string `json:"from"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be an object%s", why(err))
	}
	search := catalog.Search{Blueprint: q.path["bp"], After: in.From, Limit: defaultPage}
	if in.Limit != nil {
		if search.Limit = *in.Limit; search.Limit < 1 || search.Limit > maxPage {
			return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "limit must be between 1 and %d", maxPage)
		}
	}
	if len(in.Query) > 0 && string(in.Query) != "null" {
		var err error
		if search.Query, err = parse(in.Query); err != nil {
			return nil, err
		}
	}
	with := q.shape()
	with.include, with.exclude = append(with.include, in.Include...), append(with.exclude, in.Exclude...)
	f, list, err := s.found(ctx, q, search, with)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"entities": list}
	if f.Next != "" {
		out["next"] = f.Next
	}
	return ok(out)
}

// datasource is POST /v1/blueprints/entities/datasource-entities.
func (s *Service) datasource(ctx context.Context, q *request) (*reply, error) {
	var in struct {
		Prefix string `json:"datasource_prefix"`
		Suffix string `json:"datasource_suffix"`
		Limit  int    `json:"limit"`
		From   string `json:"from"`
		Before string `json:"before"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be an object%s", why(err))
	}
	g := &query.Group{}
	for _, r := range []query.Rule{{Property: "$datasource", Operator: query.BeginsWith, Value: in.Prefix}, {Property: "$datasource", Operator: query.EndsWith, Value: in.Suffix},
		{Property: "$updatedAt", Operator: query.Less, Value: in.Before}} {
		if r.Value != "" {
			g.Nodes = append(g.Nodes, query.Node{Rule: &r})
		}
	}
	if in.Before != "" {
		if _, isDate := query.Date(in.Before); !isDate {
			return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "before must be a date-time")
		}
	}
	if in.Limit < 1 || in.Limit > maxSourcePage {
		in.Limit = maxSourcePage
	}
	f, err := s.catalog.Search(ctx, q.account, catalog.Search{Query: g, View: catalog.View{Plain: true}, After: in.From, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	list := make([]any, len(f.Entities))
	for i, e := range f.Entities {
		list[i] = map[string]any{"identifier": e.Identifier, "blueprint": e.Blueprint, "updatedAt": catalog.Moment(e.UpdatedAt)}
	}
	var next any
	if f.Next != "" {
		next = f.Next
	}
	return ok(map[string]any{"entities": list, "next": next})
}
