package portapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/query"
)

// Limits of Port's bulk calls and pages.
const (
	maxBulk       = 20
	maxBulkDelete = 100
	maxPage       = 1000
	defaultPage   = 200
	maxSourcePage = 5000
)

func (q *request) view() catalog.View {
	return catalog.View{Plain: q.flag("exclude_calculated_properties"), Scores: true}
}

// shape is how the query wants entities to look.
type shape struct {
	include, exclude []string
	titles           bool
}

func (q *request) shape() shape {
	return shape{q.list("include", "include[]"), q.list("exclude", "exclude[]"), q.flag("attach_title_to_relation")}
}

// entity is an entity in that form.
func (s shape) entity(e *catalog.Entity) map[string]any {
	doc := e.JSON()
	if s.titles {
		relations := map[string]any{}
		for id, v := range e.Relations {
			relations[id] = withTitle(v, e.Titles[id])
		}
		doc["relations"] = relations
	}
	if len(s.include) > 0 {
		doc = pick(doc, s.include)
	}
	for _, path := range s.exclude {
		doc = without(doc, path)
	}
	return doc
}

func withTitle(id, title any) any {
	switch v := id.(type) {
	case nil:
		return nil
	case []any:
		out := make([]any, len(v))
		titles, _ := title.([]any)
		for i := range v {
			out[i] = map[string]any{"identifier": v[i], "title": titles[i]}
		}
		return out
	}
	return map[string]any{"identifier": id, "title": title}
}

// pick keeps paths such as identifier, properties.x and relations.
func pick(doc map[string]any, paths []string) map[string]any {
	out := map[string]any{}
	for _, path := range paths {
		path = strings.TrimPrefix(path, "$")
		first, rest, deep := strings.Cut(path, ".")
		if !deep {
			if v, there := doc[first]; there {
				out[first] = v
			} else if props, isMap := doc["properties"].(map[string]any); isMap {
				if v, there := props[first]; there { // a property by its name alone
					into(out, "properties")[first] = v
				}
			}
			continue
		}
		if m, isMap := doc[first].(map[string]any); isMap {
			if v, there := m[rest]; there {
				into(out, first)[rest] = v
			}
		}
	}
	return out
}

func into(doc map[string]any, key string) map[string]any {
	m, isMap := doc[key].(map[string]any)
	if !isMap {
		m = map[string]any{}
		doc[key] = m
	}
	return m
}

func without(doc map[string]any, path string) map[string]any {
	first, rest, deep := strings.Cut(strings.TrimPrefix(path, "$"), ".")
	out := map[string]any{}
	for k, v := range doc {
		if k != first {
			out[k] = v
			continue
		}
		if m, isMap := v.(map[string]any); deep && isMap {
			inner := map[string]any{}
			for k, v := range m {
				if k != rest {
					inner[k] = v
				}
			}
			out[k] = inner
		}
	}
	return out
}

func (q *request) put(body map[string]any) (catalog.Put, error) {
	p := catalog.Put{Blueprint: q.path["bp"], Team: body["team"], By: q.actor(q.Method == http.MethodPost), ValidateOnly: q.flag("validation_only"),
		CreateMissing: q.flag("create_missing_related_entities")}
	if team, given := body["team"]; given && team == nil {
		p.Team = []any{}
	}
	for key, dest := range map[string]**string{"title": &p.Title, "icon": &p.Icon} {
		switch v := body[key].(type) {
		case string:
			*dest = &v
		case nil:
			if _, given := body[key]; given {
				*dest = new(string)
			}
		default:
			return p, refuse(http.StatusUnprocessableEntity, "invalid_request", "%s must be a string", key)
		}
	}
	for key, dest := range map[string]*map[string]any{"properties": &p.Properties, "relations": &p.Relations} {
		switch v := body[key].(type) {
		case map[string]any:
			*dest = v
		case nil:
		default:
			return p, refuse(http.StatusUnprocessableEntity, "invalid_request", "%s must be an object", key)
		}
	}
	switch id := body["identifier"].(type) {
	case string:
		p.Identifier = id
	case nil:
	default:
		if !query.Is(id) {
			return p, refuse(http.StatusUnprocessableEntity, "invalid_request", "identifier must be a string")
		}
		p.Find = id
	}
	return p, nil
}

func (s *Service) answer(ctx context.Context, q *request, status int, w catalog.Written) (*reply, error) {
	if q.flag("validation_only") {
		return &reply{status, map[string]any{"entity": map[string]any{"identifier": w.Identifier, "blueprint": w.Blueprint}}}, nil
	}
	e, err := s.catalog.Entity(ctx, q.account, w.Blueprint, w.Identifier, q.view())
	if err != nil {
		return nil, err
	}
	return &reply{status, map[string]any{"entity": q.shape().entity(e)}}, nil
}

func (q *request) mode() catalog.Mode {
	switch {
	case !q.flag("upsert"):
		return catalog.Create
	case q.flag("merge"):
		return catalog.Merge
	}
	return catalog.Replace
}

func (s *Service) postEntity(ctx context.Context, q *request) (*reply, error) {
	body, err := q.object()
	if err != nil {
		return nil, err
	}
	p, err := q.put(body)
	if err != nil {
		return nil, err
	}
	p.Mode = q.mode()
	w, err := s.catalog.PutEntity(ctx, q.account, p)
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, q, http.StatusCreated, w) // for an update, too: clients ask for it
}

func (s *Service) putEntity(ctx context.Context, q *request) (*reply, error) {
	return s.changeEntity(ctx, q, catalog.Replace)
}

func (s *Service) patchEntity(ctx context.Context, q *request) (*reply, error) {
	return s.changeEntity(ctx, q, catalog.Merge)
}

func (s *Service) changeEntity(ctx context.Context, q *request, mode catalog.Mode) (*reply, error) {
	body, err := q.object()
	if err != nil {
		return nil, err
	}
	p, err := q.put(body)
	if err != nil {
		return nil, err
	}
	p.Mode, p.MustExist, p.Rename, p.Identifier, p.Find = mode, true, p.Identifier, q.path["id"], nil
	w, err := s.catalog.PutEntity(ctx, q.account, p)
	if err != nil {
		return nil, err
	}
	return s.answer(ctx, q, http.StatusOK, w)
}

func (s *Service) entity(ctx context.Context, q *request) (*reply, error) {
	e, err := s.catalog.Entity(ctx, q.account, q.path["bp"], q.path["id"], q.view())
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"entity": q.shape().entity(e)})
}

func (s *Service) deleteEntity(ctx context.Context, q *request) (*reply, error) {
	if err := s.catalog.DeleteEntity(ctx, q.account, q.path["bp"], q.path["id"], q.flag("delete_dependents"), q.actor(false)); err != nil {
		return nil, err
	}
	return ok(nil)
}

func (s *Service) count(ctx context.Context, q *request) (*reply, error) {
	n, err := s.catalog.Count(ctx, q.account, q.path["bp"])
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"count": n})
}

// batch are the entities of a body: the same that resources asks the gate about.
func batch[T any](q *request, most int) ([]T, error) {
	body, err := q.object()
	if err != nil {
		return nil, err
	}
	list, ok := body["entities"].([]any)
	if !ok || len(list) == 0 || len(list) > most {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "entities must be a list of 1 to %d", most)
	}
	out := make([]T, len(list))
	for i, item := range list {
		if out[i], ok = item.(T); !ok {
			return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "entities[%d] is not what this call takes", i)
		}
	}
	return out, nil
}

// bulk is POST /v1/blueprints/{bp}/entities/bulk. What names an entity of the same batch
// that comes later is tried again.
func (s *Service) bulk(ctx context.Context, q *request) (*reply, error) {
	list, err := batch[map[string]any](q, maxBulk)
	if err != nil {
		return nil, err
	}
	done, problems := map[int]any{}, map[int]any{}
	todo := make([]int, len(list))
	for i := range todo {
		todo[i] = i
	}
	for progress := true; progress && len(todo) > 0; {
		progress = false
		var again []int
		for _, i := range todo {
			id, created, err := s.bulkOne(ctx, q, list[i])
			if err == nil {
				progress = true
				done[i] = map[string]any{"created": created, "identifier": id, "index": i}
				delete(problems, i)
				continue
			}
			e := s.explain(q.Request, err)
			problems[i] = map[string]any{"identifier": id, "index": i, "statusCode": e.status, "error": e.code, "message": e.message}
			if catalog.CodeOf(err) == catalog.TargetMissing {
				again = append(again, i)
			}
		}
		todo = again
	}
	entities, failed := []any{}, []any{}
	for i := range list {
		if v, there := done[i]; there {
			entities = append(entities, v)
		} else {
			failed = append(failed, problems[i])
		}
	}
	status := http.StatusOK
	if len(failed) > 0 {
		status = http.StatusMultiStatus
	}
	return &reply{status, map[string]any{"entities": entities, "errors": failed}}, nil
}

func (s *Service) bulkOne(ctx context.Context, q *request, body map[string]any) (id string, created bool, err error) {
	p, err := q.put(body)
	if id = p.Identifier; p.Find != nil {
		id = "unknown"
	}
	if err != nil {
		return id, false, err
	}
	p.Mode = q.mode()
	w, err := s.catalog.PutEntity(ctx, q.account, p)
	if err != nil {
		return id, false, err
	}
	return w.Identifier, w.Created, nil
}

func (s *Service) bulkDelete(ctx context.Context, q *request) (*reply, error) {
	ids, err := batch[string](q, maxBulkDelete)
	if err != nil {
		return nil, err
	}
	gone, err := s.catalog.DeleteEntities(ctx, q.account, q.path["bp"], ids, q.flag("delete_dependents"), q.actor(false))
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"deletedEntities": gone})
}

// changes is GET /v1/audit-log.
func (s *Service) changes(ctx context.Context, q *request) (*reply, error) {
	in := catalog.ChangesQuery{Blueprint: q.query.Get("blueprint"), Entity: q.query.Get("entity"), Action: q.query.Get("action"), Status: q.query.Get("status"),
		Run: q.query.Get("run_id")}
	if in.Entity == "" {
		in.Entity = q.query.Get("identifier")
	}
	if list := q.list("resources"); len(list) == 1 {
		in.Resource = list[0]
	}
	if list := q.list("origin", "InstallationId"); len(list) == 1 {
		in.Origin = list[0]
	}
	for key, dest := range map[string]*time.Time{"from": &in.From, "to": &in.To} {
		if text := q.query.Get(key); text != "" {
			at, isDate := query.Date(text)
			if !isDate {
				return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "%s must be a date-time", key)
			}
			*dest = at
		}
	}
	if n, err := number(q.query.Get("limit")); err != nil {
		return nil, err
	} else if n > 0 {
		in.Limit = n
	}
	list, err := s.catalog.Changes(ctx, q.account, in)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, c := range list {
		var before, after any
		if c.Before != nil {
			before = c.Before
		}
		if c.After != nil {
			after = c.After
		}
		out = append(out, map[string]any{"identifier": c.ID, "action": c.Action, "resourceType": c.Resource, "status": c.Status, "message": c.Message, "additionalData": map[string]any{"runId": c.By.Run},
			"trigger": map[string]any{"by": map[string]any{"orgId": q.account, "userId": c.By.ID}, "origin": c.By.Origin, "at": catalog.Moment(c.At)},
			"context": map[string]any{"blueprintIdentifier": c.Blueprint, "entityIdentifier": c.Entity}, "diff": map[string]any{"before": before, "after": after}})
	}
	return ok(map[string]any{"audits": out})
}

func number(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	var n int
	if err := json.Unmarshal([]byte(text), &n); err != nil || n < 0 {
		return 0, refuse(http.StatusUnprocessableEntity, "invalid_request", "limit must be a number")
	}
	return n, nil
}
