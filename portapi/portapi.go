// Package portapi is Port's REST API under /v1/, as far as a catalog needs it: access
// tokens, blueprints, entities, search, integrations, scorecards and the log of changes,
// so that Port's exporters, terraform provider, GitHub action and scripts work unchanged.
//
// It decodes requests, asks gate and calls package catalog; it holds no rule of the
// catalog. A client id and its secret are an access key and its secret: what a client
// may do, IAM's policies say, in actions of the service "catalog" such as
// catalog:WriteEntities, on arn:aws:catalog::ACCOUNT:entity/BLUEPRINT/ID.
package portapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

// ServiceName is the service's name in policies and ARNs.
const ServiceName = "catalog"

// maxBody is the longest request body, in bytes.
const maxBody = 1 << 20

// Failures counts logins that fail and says when an address has too many.
type Failures interface {
	Failed(address, who string) (wait time.Duration, tooMany bool)
}

// Service serves the API.
type Service struct {
	catalog  *catalog.Catalog
	identity *identity.Identity
	gate     *gate.Gate
	failures Failures
	tokens   *tokens
	routes   []route
	log      *slog.Logger
}

// New makes the front end.
func New(c *catalog.Catalog, id *identity.Identity, g *gate.Gate, f Failures, master *secret.Master, log *slog.Logger) *Service {
	s := &Service{catalog: c, identity: id, gate: g, failures: f, tokens: newTokens(master), log: log}
	s.routes = s.table()
	return s
}

// request is one that has been matched and authenticated.
type request struct {
	*http.Request
	caller  gate.Caller
	account arn.Account
	path    map[string]string
	query   url.Values
	body    []byte
}

// reply is what a handler answers: a status and the members beside ok.
type reply struct {
	status int
	body   map[string]any
}

func ok(body map[string]any) (*reply, error) { return &reply{http.StatusOK, body}, nil }

// handler serves a route.
type handler = func(context.Context, *request) (*reply, error)

// route is one operation of the API.
type route struct {
	method  string
	pattern []string // segments; {x} is a name, {x...} the rest
	action  string   // of the service catalog; "" is not asked for
	reads   bool
	serve   handler
}

// refusal is an error of the protocol itself.
type refusal struct {
	status        int
	code, message string
}

func (e *refusal) Error() string { return e.message }

func refuse(status int, code, format string, args ...any) error {
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := s.serve(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body := out.body
	if body == nil {
		body = map[string]any{}
	}
	body["ok"] = true
	s.write(w, out.status, body)
}

func (s *Service) write(w http.ResponseWriter, status int, body map[string]any) {
	b, err := json.Marshal(body)
	if err != nil {
		s.log.Error("an answer of the catalog cannot be written", "error", err)
		status, b = http.StatusInternalServerError, []byte(`{"ok":false,"error":"internal_error","message":"The answer cannot be written"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone
}

// statuses are those of the catalog's codes. A test holds that none is missing.
//
//nolint:gochecknoglobals // a table
var statuses = map[catalog.Code]struct {
	status int
	code   string
}{
	catalog.NotFound: {404, "not_found"}, catalog.TargetMissing: {404, "not_found"}, catalog.Taken: {409, "identifier_taken"}, catalog.HasDependents: {409, "has_dependents"},
	catalog.Invalid: {422, "invalid_request"}, catalog.LimitExceeded: {422, "limit_exceeded"}, catalog.StorageFull: {507, "storage_full"},
	catalog.Unavailable: {503, "unavailable"},
}

// explain turns an error into its status, code and text.
func (s *Service) explain(r *http.Request, err error) *refusal {
	var own *refusal
	var denied *gate.Denied
	var c *catalog.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &denied):
		return &refusal{http.StatusForbidden, "forbidden", denied.Error()}
	case errors.As(err, &c):
		row := statuses[c.Code]
		return &refusal{row.status, row.code, c.Message}
	}
	id := gate.CallerFrom(r.Context()).RequestID
	s.log.Error("a call of the catalog's API failed", "method", r.Method, "path", r.URL.Path, "request", id, "error", err)
	return &refusal{http.StatusInternalServerError, "internal_error", "Something went wrong here. The server's log has it under the request id " + id + "."}
}

func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := s.explain(r, err)
	s.write(w, e.status, map[string]any{"ok": false, "error": e.code, "message": e.message})
}

func (s *Service) serve(r *http.Request) (*reply, error) {
	segments, err := split(r.URL)
	if err != nil {
		return nil, err
	}
	found, path, methods := s.match(r.Method, segments)
	if found == nil {
		if methods != "" {
			return nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "%s is not possible here; %s is", r.Method, methods)
		}
		return nil, refuse(http.StatusNotFound, "not_found", "There is nothing at %.300s", r.URL.Path)
	}
	q := &request{Request: r, caller: gate.CallerFrom(r.Context()), path: path, query: r.URL.Query()}
	q.account = q.caller.Principal.Account
	if found.action != "" && q.caller.Principal.IsZero() { // else it is a call of this process
		if err := s.authenticate(q); err != nil {
			return nil, err
		}
	}
	if q.body, err = readBody(r); err != nil {
		return nil, err
	}
	ctx := gate.WithCaller(r.Context(), q.caller)
	if found.action == "" {
		return found.serve(ctx, q)
	}
	c := gate.Call{Principal: q.caller.Principal, Service: ServiceName, Action: found.action, Place: q.caller.Place(), Resources: q.resources(found), ReadOnly: found.reads,
		Params: map[string]any{"method": r.Method, "path": r.URL.Path}}
	var out *reply
	err = s.gate.Do(ctx, c, func(ctx context.Context) error {
		var err error
		out, err = found.serve(ctx, q)
		return err
	})
	return out, err
}

// resources are the ARNs that a request is about: of a write that names entities in its
// body, each of those.
func (q *request) resources(rt *route) []string {
	name := "*"
	switch {
	case !rt.reads && q.Method == http.MethodPost && q.path["bp"] != "" && slices.Contains(rt.pattern, "entities"):
		var out []string
		for _, id := range q.identifiers() {
			out = append(out, resource(q.account, "entity/"+q.path["bp"]+"/"+id))
		}
		return out
	case q.path["id"] != "" && slices.Contains(rt.pattern, "scorecards"):
		name = "scorecard/" + q.path["bp"] + "/" + q.path["id"]
	case q.path["id"] != "":
		out := []string{resource(q.account, "entity/"+q.path["bp"]+"/"+q.path["id"])}
		if q.Method == http.MethodPut || q.Method == http.MethodPatch { // which may give it another name
			if ids := q.identifiers(); ids[0] != "*" && ids[0] != q.path["id"] {
				out = append(out, resource(q.account, "entity/"+q.path["bp"]+"/"+ids[0]))
			}
		}
		return out
	case q.path["bp"] != "":
		name = "blueprint/" + q.path["bp"]
	case q.path["installation"] != "":
		name = "integration/" + q.path["installation"]
	}
	return []string{resource(q.account, name)}
}

func resource(account arn.Account, name string) string {
	return arn.ARN{Service: ServiceName, Account: account, Resource: name}.String()
}

// identifiers are the entities that a body names; * stands for one whose name is yet to be
// found or made up.
func (q *request) identifiers() []string {
	body, err := q.object()
	if err != nil { // which the handler refuses
		return []string{"*"}
	}
	list, many := body["entities"].([]any)
	if !many {
		list = []any{body}
	}
	var out []string
	for _, item := range list {
		id, ok := item.(string)
		if m, isMap := item.(map[string]any); isMap {
			id, ok = m["identifier"].(string)
		}
		if !ok || id == "" {
			id = "*"
		}
		if !slices.Contains(out, id) && len(out) <= maxBulkDelete {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		out = []string{"*"}
	}
	return out
}

// split takes the path apart before it is decoded, since names hold slashes.
func split(u *url.URL) ([]string, error) {
	raw := strings.TrimPrefix(u.EscapedPath(), "/v1")
	var out []string
	for _, part := range strings.Split(strings.Trim(raw, "/"), "/") {
		s, err := url.PathUnescape(part)
		if err != nil || strings.ContainsRune(s, 0) {
			return nil, refuse(http.StatusBadRequest, "invalid_request", "The path is not well encoded")
		}
		out = append(out, s)
	}
	return out, nil
}

// match finds the route; methods are those that the path has when the method is not one.
func (s *Service) match(method string, segments []string) (*route, map[string]string, string) {
	var methods []string
	for i := range s.routes {
		rt := &s.routes[i]
		path, fits := rt.fits(segments)
		switch {
		case fits && (rt.method == method || method == http.MethodHead && rt.method == http.MethodGet):
			return rt, path, ""
		case fits:
			methods = append(methods, rt.method)
		}
	}
	return nil, nil, strings.Join(methods, ", ")
}

func (rt *route) fits(segments []string) (map[string]string, bool) {
	path := map[string]string{}
	for i, p := range rt.pattern {
		if name, rest := strings.CutSuffix(p, "...}"); rest {
			if i >= len(segments) || segments[i] == "" {
				return nil, false
			}
			path[name[1:]] = strings.Join(segments[i:], "/")
			return path, true
		}
		switch {
		case i >= len(segments):
			return nil, false
		case strings.HasPrefix(p, "{"):
			if segments[i] == "" {
				return nil, false
			}
			path[p[1:len(p)-1]] = segments[i]
		case p != segments[i]:
			return nil, false
		}
	}
	return path, len(segments) == len(rt.pattern)
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid_request", "The body ended early")
	}
	if len(b) > maxBody {
		return nil, refuse(http.StatusRequestEntityTooLarge, "payload_too_large", "The body has more than %d bytes", maxBody)
	}
	return b, nil
}

// object decodes the body into an object; an empty body is an empty one.
func (q *request) object() (map[string]any, error) {
	if len(bytes.TrimSpace(q.body)) == 0 {
		return map[string]any{}, nil
	}
	var m map[string]any
	if err := json.Unmarshal(q.body, &m); err != nil || m == nil {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be a JSON object%s", why(err))
	}
	return m, nil
}

func why(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// flag reads a boolean of the query; what is neither true nor false is not there.
func (q *request) flag(name string) bool { return q.query.Get(name) == "true" }

// list reads a list of the query, repeated or joined by commas.
func (q *request) list(names ...string) []string {
	var out []string
	for _, name := range names {
		for _, v := range q.query[name] {
			for _, part := range strings.Split(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					out = append(out, part)
				}
			}
		}
	}
	return out
}

// actor is who changes something by this request. ingests says that the entity is to be
// known as this client's.
func (q *request) actor(ingests bool) catalog.Actor {
	a := catalog.Actor{ID: q.caller.Principal.ARN, Origin: "API", Run: q.query.Get("run_id")}
	agent := q.caller.UserAgent
	if strings.HasPrefix(agent, "terraform-provider-") {
		a.Origin = "terraform"
	}
	if ingests && agent != "" {
		a.Source = agent[:min(len(agent), 500)]
	}
	return a
}

// operation is a row of the table, for tests and documentation.
type operation struct {
	Method, Path, Action string
	Reads                bool
}

// Operations lists what the API has.
func Operations() []operation { //nolint:revive // its rows are for reading
	var out []operation
	for _, rt := range (&Service{}).table() {
		out = append(out, operation{rt.method, "/v1/" + strings.Join(rt.pattern, "/"), rt.action, rt.reads})
	}
	return out
}
