package registry

import (
	"context"
	"encoding/json"

	"github.com/berth-registry/berth/arn"
)

// CreatedBy tells how a repository came to be: the principal and request that made it
// and, where a template or a function did, what led to that.
func (r *Registry) CreatedBy(ctx context.Context, p arn.Place, name string) (map[string]string, error) {
	repo, err := r.Repository(ctx, p, name)
	if err != nil {
		return nil, err
	}
	text, err := r.readCreatedBy(ctx, repo)
	if err != nil {
		return nil, storage(err)
	}
	out := map[string]string{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// createdBy asks who is making a repository.
func (r *Registry) createdBy(ctx context.Context, n *NewRepository) string {
	if r.origin == nil {
		return ""
	}
	m := r.origin(ctx, n.Place)
	if n.template != "" {
		m["template"] = n.template
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "" // texts always marshal
	}
	return string(b)
}
