package portapi

import (
	"context"
	"net/http"
)

// unowned is Berth's own: repositories without an owner, with suggestions.
func (s *Service) unowned(ctx context.Context, q *request) (*reply, error) {
	list, err := s.catalog.Unowned(ctx, q.account)
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"repositories": list})
}

// running is Berth's own: what runs where, and how that differs from the registry.
func (s *Service) running(ctx context.Context, q *request) (*reply, error) {
	list, err := s.catalog.Running(ctx, q.account, q.query.Get("digest"))
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"deployments": list})
}

// impact is Berth's own: what a deletion would take from whom.
func (s *Service) impact(ctx context.Context, q *request) (*reply, error) {
	name := q.query.Get("repository")
	if name == "" {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "repository must be given, and may be followed by digest")
	}
	i, err := s.catalog.Impact(ctx, q.account, name, q.query.Get("digest"))
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"impact": i})
}
