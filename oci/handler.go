package oci

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
)

// Locator says which registry a request is for: by its host, else by its token.
type Locator interface {
	Locate(r *http.Request, t identity.Token) arn.Place
}

// Failures counts failed logins. One more than the limit allows is answered with
// how long to wait.
type Failures interface {
	Failed(address, who string) (wait time.Duration, tooMany bool)
}

// Handler serves the API.
type Handler struct {
	registry *registry.Registry
	identity *identity.Identity
	gate     *gate.Gate
	locate   Locator
	failures Failures
	log      *slog.Logger
}

// New makes the front end.
func New(r *registry.Registry, id *identity.Identity, g *gate.Gate, l Locator, f Failures, log *slog.Logger) *Handler {
	return &Handler{r, id, g, l, f, log}
}

// exchange is one request on its way.
type exchange struct {
	Request
	w     http.ResponseWriter
	r     *http.Request
	ctx   context.Context
	call  gate.Call
	place arn.Place
	who   arn.Principal

	// digest is that of a manifest or layer that is put: the record of the call tells it.
	digest string
}

// ServeHTTP implements http.Handler. The context holds a gate.Caller without a
// principal; authentication happens here.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	x := &exchange{w: w, r: r}
	if err := h.serve(x); err != nil {
		if errors.Is(err, errUnauthorized) {
			h.challenge(w, r)
			return
		}
		if writeError(w, r, err) {
			h.log.Error("registry request failed", "method", r.Method, "path", r.URL.Path, "request", gate.CallerFrom(r.Context()).RequestID, "error", err)
		}
	}
}

var errUnauthorized = errors.New("not authorized")

// challenge asks for credentials the way ECR does: always Basic, there is no
// token service.
func (h *Handler) challenge(w http.ResponseWriter, r *http.Request) {
	c := gate.CallerFrom(r.Context())
	scheme := "http"
	if c.Secure {
		scheme = "https"
	}
	w.Header().Set("Www-Authenticate", `Basic realm="`+scheme+"://"+c.Host+`/",service="ecr.amazonaws.com"`)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusUnauthorized)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte("Not Authorized\n"))
	}
}

func (h *Handler) serve(x *exchange) error {
	q, perr := Parse(x.r.URL.Path)
	x.Request = q
	if err := h.authenticate(x); err != nil {
		return err
	}
	if perr != nil {
		return perr
	}
	e, ok := find(q.Kind, x.r.Method)
	switch {
	case q.Kind == KindUnknown:
		return &protocolError{answer: answer{http.StatusNotFound, "UNSUPPORTED"}, message: "The registry has nothing at this path"}
	case !ok:
		x.w.Header().Set("Allow", allow(q.Kind))
		return &protocolError{answer: answer{http.StatusMethodNotAllowed, "UNSUPPORTED"}, message: "The operation is not supported: " + x.r.Method}
	case x.r.Header.Get("Content-Encoding") != "":
		return &protocolError{answer: answer{http.StatusUnsupportedMediaType, "UNSUPPORTED"}, message: "Request bodies must not be encoded"}
	}
	if e.action == "" {
		return e.serve(h, x)
	}
	resource := q.Repository
	if resource == "" {
		resource = "*"
	}
	x.call = gate.Call{Principal: x.who, Service: "ecr", Action: e.action, Place: x.place,
		Resources: []string{arn.Repository(x.place, resource).String()}, ReadOnly: e.reads}
	tell := &gate.Exchange{Params: x.params, Early: x.answer}
	return h.gate.Do(gate.WithExchange(x.ctx, tell), x.call, func(ctx context.Context) error {
		x.ctx = ctx
		return e.serve(h, x)
	})
}

// authenticate finds out who calls and which registry is meant.
func (h *Handler) authenticate(x *exchange) error {
	caller := gate.CallerFrom(x.r.Context())
	if x.Kind == KindBlob && x.r.URL.RawQuery != "" {
		if grant := x.r.URL.Query().Get(identity.GrantParam); grant != "" && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) {
			who, place, err := h.identity.OpenGrant(grant, x.Repository, x.Reference)
			if err != nil {
				return &protocolError{answer: answer{http.StatusForbidden, "DENIED"}, message: "This download URL is not valid here or has expired; ask for a new one"}
			}
			x.who, x.place = who, place
		}
	}
	if x.who.IsZero() {
		password, ok := basic(x.r)
		if !ok {
			return errUnauthorized
		}
		t, err := h.identity.VerifyToken(x.r.Context(), password)
		switch {
		case errors.Is(err, identity.ErrExpired):
			return &protocolError{answer: answer{http.StatusForbidden, "DENIED"}, message: "Your authorization token has expired. Reauthenticate and try again."}
		case errors.Is(err, identity.ErrBadToken), errors.Is(err, identity.ErrUnknownKey):
			if wait, tooMany := h.failures.Failed(caller.SourceIP, "registry"); tooMany {
				return &protocolError{answer{http.StatusTooManyRequests, "TOOMANYREQUESTS"}, "Too many failed logins from this address; try again later", wait}
			}
			return errUnauthorized
		case err != nil:
			return err
		}
		x.who, x.place = t.Principal, h.locate.Locate(x.r, t)
	}
	caller.Principal, caller.Region = x.who, x.place.Region
	x.ctx = gate.WithCaller(x.r.Context(), caller)
	return nil
}

// basic returns the password of a Basic login as the user that tokens belong to.
func basic(r *http.Request) (string, bool) {
	const scheme = "basic "
	v := r.Header.Get("Authorization")
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) || len(v) > 8192 {
		return "", false
	}
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v[len(scheme):]))
	if err != nil {
		return "", false
	}
	user, password, ok := strings.Cut(string(b), ":")
	return password, ok && user == identity.Username
}
