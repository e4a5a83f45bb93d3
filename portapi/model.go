package portapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/berth-registry/berth/catalog"
)

func (s *Service) organization(_ context.Context, q *request) (*reply, error) {
	// Each feature flag would switch clients to paths that are not here.
	return ok(map[string]any{"organization": map[string]any{"id": q.account, "name": q.account, "featureFlags": []string{}}})
}

func (s *Service) blueprints(ctx context.Context, q *request) (*reply, error) {
	list, err := s.catalog.Blueprints(ctx, q.account)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	for i, b := range list {
		out[i] = b.JSON()
	}
	return ok(map[string]any{"blueprints": out})
}

func (s *Service) blueprint(ctx context.Context, q *request) (*reply, error) {
	b, err := s.catalog.Blueprint(ctx, q.account, q.path["bp"])
	return blueprintReply(http.StatusOK, b, err)
}

func blueprintReply(status int, b *catalog.Blueprint, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{status, map[string]any{"blueprint": b.JSON()}}, nil
}

func (s *Service) createBlueprint(ctx context.Context, q *request) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	b, err := s.catalog.CreateBlueprint(ctx, q.account, doc, q.actor(false))
	return blueprintReply(http.StatusCreated, b, err)
}

func (s *Service) replaceBlueprint(ctx context.Context, q *request) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	b, err := s.catalog.ReplaceBlueprint(ctx, q.account, q.path["bp"], doc, q.actor(false))
	return blueprintReply(http.StatusOK, b, err)
}

func (s *Service) patchBlueprint(ctx context.Context, q *request) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	b, err := s.catalog.PatchBlueprint(ctx, q.account, q.path["bp"], doc, q.actor(false))
	return blueprintReply(http.StatusOK, b, err)
}

func (s *Service) deleteBlueprint(ctx context.Context, q *request) (*reply, error) {
	if err := s.catalog.DeleteBlueprint(ctx, q.account, q.path["bp"], q.actor(false)); err != nil {
		return nil, err
	}
	return ok(nil)
}

// deleteAll removes a blueprint's entities before it answers, so that the migration that
// clients poll has ended when they ask.
func (s *Service) deleteAll(ctx context.Context, q *request) (*reply, error) {
	m, err := s.catalog.DeleteAllEntities(ctx, q.account, q.path["bp"], q.flag("delete_blueprint"), q.actor(false))
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"migrationId": m.ID, "deletedEntities": m.Deleted})
}

func (s *Service) migration(ctx context.Context, q *request) (*reply, error) {
	m, err := s.catalog.Migration(ctx, q.account, q.path["migration"])
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"migration": map[string]any{"id": m.ID, "actor": m.By, "sourceBlueprint": m.Blueprint, "mapping": map[string]any{}, "status": "COMPLETED",
		"deleteEntities": true, "failureCount": 0, "createdAt": catalog.Moment(m.At), "updatedAt": catalog.Moment(m.At)}})
}

func (s *Service) renameMember(ctx context.Context, q *request) (*reply, error) {
	var in struct {
		Old string `json:"oldPropertyName"`
		New string `json:"newPropertyName"`
		ID  string `json:"newIdentifier"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be an object%s", why(err))
	}
	if in.New == "" {
		in.New = in.ID
	}
	b, err := s.catalog.RenameMember(ctx, q.account, q.path["bp"], q.path["part"], q.path["name"], in.New, q.actor(false))
	return blueprintReply(http.StatusOK, b, err)
}

func (s *Service) scorecards(ctx context.Context, q *request) (*reply, error) {
	list, err := s.catalog.Scorecards(ctx, q.account, q.path["bp"])
	return scorecardsReply(list, err)
}

func scorecardsReply(list []*catalog.Scorecard, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	for i, c := range list {
		out[i] = c.JSON()
	}
	return ok(map[string]any{"scorecards": out})
}

func (s *Service) scorecard(ctx context.Context, q *request) (*reply, error) {
	c, err := s.catalog.Scorecard(ctx, q.account, q.path["bp"], q.path["id"])
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"scorecard": c.JSON()})
}

func (s *Service) createScorecard(ctx context.Context, q *request) (*reply, error) {
	return s.saveScorecard(ctx, q, true, http.StatusCreated)
}

func (s *Service) replaceScorecard(ctx context.Context, q *request) (*reply, error) {
	return s.saveScorecard(ctx, q, false, http.StatusOK)
}

func (s *Service) saveScorecard(ctx context.Context, q *request, create bool, status int) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	if !create {
		doc["identifier"] = q.path["id"]
	}
	list, err := s.catalog.SaveScorecards(ctx, q.account, q.path["bp"], []map[string]any{doc}, create, false, q.actor(false))
	if err != nil {
		return nil, err
	}
	return &reply{status, map[string]any{"scorecard": list[0].JSON()}}, nil
}

func (s *Service) replaceScorecards(ctx context.Context, q *request) (*reply, error) {
	var docs []map[string]any
	if err := json.Unmarshal(q.body, &docs); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be a list of scorecards%s", why(err))
	}
	list, err := s.catalog.SaveScorecards(ctx, q.account, q.path["bp"], docs, false, true, q.actor(false))
	return scorecardsReply(list, err)
}

func (s *Service) deleteScorecard(ctx context.Context, q *request) (*reply, error) {
	if err := s.catalog.DeleteScorecard(ctx, q.account, q.path["bp"], q.path["id"], q.actor(false)); err != nil {
		return nil, err
	}
	return ok(nil)
}
