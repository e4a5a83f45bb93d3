package portapi

import (
	"context"
	"net/http"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog"
)

// show is an integration with its state, which of the built-in one the catalog knows.
func (s *Service) show(ctx context.Context, q *request, n *catalog.Integration) (map[string]any, error) {
	doc := n.JSON()
	doc["_orgId"] = q.account
	if n.ID != catalog.BuiltIn {
		if doc["resyncState"] == nil {
			doc["resyncState"] = map[string]any{"status": nil, "updatedAt": doc["updatedAt"]}
		}
		return doc, nil
	}
	state, err := s.catalog.SyncState(ctx, q.account)
	if err != nil {
		return nil, err
	}
	status := "completed"
	switch {
	case state.Running(time.Now()):
		status = "running"
	case state.AskedAt.After(state.StartedAt):
		status = "pending"
	case state.Report.Error != "":
		status = "failed"
	}
	moment := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return catalog.Moment(t)
	}
	doc["resyncState"] = map[string]any{"status": status, "lastResyncStart": moment(state.StartedAt), "lastResyncEnd": moment(state.EndedAt), "nextResync": nil, "updatedAt": moment(state.StartedAt),
		"report": map[string]any{"done": state.Report.Done, "total": state.Report.Total, "created": state.Report.Created, "updated": state.Report.Updated, "deleted": state.Report.Deleted,
			"unchanged": state.Report.Unchanged, "failed": state.Report.Failed, "error": state.Report.Error, "skipped": state.Report.Skipped}}
	return doc, nil
}

func (s *Service) integrationReply(ctx context.Context, q *request, status int, n *catalog.Integration) (*reply, error) {
	doc, err := s.show(ctx, q, n)
	if err != nil {
		return nil, err
	}
	return &reply{status, map[string]any{"integration": doc}}, nil
}

func (s *Service) integrations(ctx context.Context, q *request) (*reply, error) {
	list, err := s.catalog.Integrations(ctx, q.account)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(list))
	for i, n := range list {
		if out[i], err = s.show(ctx, q, n); err != nil {
			return nil, err
		}
	}
	return ok(map[string]any{"integrations": out})
}

func (s *Service) provision(_ context.Context, _ *request) (*reply, error) {
	return ok(map[string]any{"integrations": []any{}})
}

func (s *Service) integration(ctx context.Context, q *request) (*reply, error) {
	n, err := s.catalog.Integration(ctx, q.account, q.path["installation"])
	if err != nil {
		return nil, err
	}
	return s.integrationReply(ctx, q, http.StatusOK, n)
}

func (s *Service) createIntegration(ctx context.Context, q *request) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	id, _ := doc["installationId"].(string)
	if id == "" {
		id, _ = doc["identifier"].(string)
	}
	n, made, err := s.catalog.PutIntegration(ctx, q.account, id, doc, true, q.flag("upsert"), q.actor(false))
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	return s.integrationReply(ctx, q, status, n)
}

// patchIntegration changes what is given; without anything it asks for a resync, and so
// does a new configuration.
func (s *Service) patchIntegration(ctx context.Context, q *request) (*reply, error) {
	doc, err := q.object()
	if err != nil {
		return nil, err
	}
	id := q.path["installation"]
	n, _, err := s.catalog.PutIntegration(ctx, q.account, id, doc, false, false, q.actor(false))
	if err != nil {
		return nil, err
	}
	_, configured := doc["config"]
	if id == catalog.BuiltIn && (len(doc) == 0 || configured) && q.Header.Get("X-Skip-Resync") != "true" {
		if err := s.catalog.AskSync(ctx, q.account); err != nil {
			return nil, err
		}
	}
	return s.integrationReply(ctx, q, http.StatusOK, n)
}

func (s *Service) resyncState(ctx context.Context, q *request) (*reply, error) {
	state, err := q.object()
	if err != nil {
		return nil, err
	}
	if q.path["installation"] == catalog.BuiltIn {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The state of the built-in integration is Berth's to tell")
	}
	state["updatedAt"] = catalog.Moment(time.Now())
	n, _, err := s.catalog.PutIntegration(ctx, q.account, q.path["installation"], map[string]any{"resyncState": state}, false, false, q.actor(false))
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"integration": map[string]any{"identifier": n.ID, "resyncState": state}})
}

func (s *Service) resyncRequest(ctx context.Context, q *request) (*reply, error) {
	if _, err := s.catalog.Integration(ctx, q.account, q.path["installation"]); err != nil {
		return nil, err
	}
	return ok(map[string]any{"request": map[string]any{}})
}

func (s *Service) deleteIntegration(ctx context.Context, q *request) (*reply, error) {
	if err := s.catalog.DeleteIntegration(ctx, q.account, q.path["installation"], q.actor(false)); err != nil {
		return nil, err
	}
	return ok(nil)
}

// notices is Berth's own: what went wrong with the entities of the registry's resources.
func (s *Service) notices(ctx context.Context, q *request) (*reply, error) {
	r := catalog.Resource{Account: q.account, Region: arn.Region(q.query.Get("region")), Kind: q.query.Get("kind"), Name: q.query.Get("resource")}
	list, err := s.catalog.Notices(ctx, r, catalog.Resource{Region: r.Region, Kind: r.Kind, Name: q.query.Get("after")}, maxPage)
	if err != nil {
		return nil, err
	}
	pending, err := s.catalog.Pendings(ctx, q.account, maxPage)
	if err != nil {
		return nil, err
	}
	links := []catalog.Dangling{}
	if q.query.Get("links") != "false" { // looking for them reads all links
		if links, err = s.catalog.Unresolved(ctx, q.account, maxPage); err != nil {
			return nil, err
		}
	}
	out := map[string]any{"notices": []any{}, "pending": []any{}, "unresolved": links}
	for _, n := range list {
		out["notices"] = append(out["notices"].([]any), map[string]any{"region": n.Region, "kind": n.Kind, "resource": n.Name, "blueprint": n.Blueprint, "entity": n.Entity, "code": n.Code,
			"path": n.Path, "message": n.Message, "at": catalog.Moment(n.At)})
	}
	for _, p := range pending {
		out["pending"] = append(out["pending"].([]any), map[string]any{"region": p.Region, "kind": p.Kind, "resource": p.Name, "tries": p.Tries, "reason": p.Reason, "due": catalog.Moment(p.Due)})
	}
	return ok(out)
}
