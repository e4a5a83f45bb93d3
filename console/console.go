package console

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

// Host is what the console has to know of the server around it.
type Host interface {
	// Registry is the host[:port] of a registry, as image references have it, and Endpoint
	// the address of the APIs, with scheme.
	Registry(arn.Place) string
	Endpoint() string
	// URL is the address of the console, from the configuration.
	URL() string
	// Home is the account that keeps the others, and the region of those who name none.
	Home() arn.Place
	Version() string
	// Mark is a number that grows when something of an account changes: anything, or what
	// a topic names (see page.Live).
	Mark(ctx context.Context, a arn.Account, topic string) (int64, error)
	// Map evaluates a mapping's configuration on a resource's document, within limits.
	Map(ctx context.Context, config []byte, kind string, document json.RawMessage) ([]mapping.Result, error)
	// SignedIn is told of every attempt to sign in; ctx has the caller, if it is known.
	SignedIn(ctx context.Context, how string, err error)
}

// Failures counts logins that fail and says when an address has too many.
type Failures interface {
	Failed(address, who string) (wait time.Duration, tooMany bool)
}

// Console serves the pages.
type Console struct {
	api      API
	host     Host
	identity *identity.Identity
	failures Failures
	oidc     *oidc // nil without single sign-on
	seal     *secret.Box
	forms    []byte // key of the forms' tokens
	log      *slog.Logger
	now      func() time.Time

	mux     func() *http.ServeMux // made when the first page is asked for
	static  fs.FS
	views   func() (*views, error)
	streams streams
}

// Options of a Console.
type Options struct {
	API      API
	Host     Host
	Identity *identity.Identity
	Failures Failures
	Master   *secret.Master
	// OIDC is single sign-on, nil for none.
	OIDC *OIDC
	Log  *slog.Logger
	// Now is the clock, nil the real one.
	Now func() time.Time
}

// New makes the console.
func New(o Options) *Console {
	c := &Console{api: o.API, host: o.Host, identity: o.Identity, failures: o.Failures, seal: o.Master.Box("console"), forms: o.Master.Derive("console-forms"),
		log: o.Log, now: o.Now, streams: streams{by: map[secret.String]int{}, closed: make(chan struct{})}, static: staticFiles(), views: sync.OnceValues(parseViews)}
	if c.now == nil {
		c.now = time.Now
	}
	if o.OIDC != nil {
		c.oidc = newOIDC(*o.OIDC)
	}
	c.mux = sync.OnceValue(c.routes)
	return c
}

// security are the headers of every answer (RFC 9110; Content Security Policy level 3):
// nothing comes from elsewhere, nothing is framed, no script stands in a page.
var security = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":  "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

// maxForm is the longest form that is read, in bytes.
const maxForm = 1 << 20

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for k, v := range security {
		w.Header().Set(k, v)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	c.mux().ServeHTTP(w, r)
}

// request is one of somebody who has signed in.
type request struct {
	*http.Request
	w      http.ResponseWriter
	ctx    context.Context // with the caller
	caller gate.Caller
	me     *identity.Browser
	token  secret.String // of the session
	// problem is why a form could not be taken, for the page that it came from.
	problem *part
	quiet   bool // see optional
	// newest is the mark of the account's changes before anything of the page was read.
	newest int64
}

// optional is the request for calls that nobody asked for: what the page shows beside what
// it is about, to who may see it. Denials of those leave no record.
func (q *request) optional() *request {
	o := *q
	o.ctx, o.quiet = gate.WithOptional(q.ctx), true
	return &o
}

// at is the context for calls in a region.
func (q *request) at(region string) context.Context {
	caller := q.caller
	caller.Region = arn.Region(region)
	return gate.WithCaller(q.ctx, caller)
}

// in reads a form's field, without the spaces around it.
func (q *request) in(name string) string { return strings.TrimSpace(q.FormValue(name)) }

// page handles a request by somebody who has signed in. What it returns is shown; an error
// as a page of its own.
type handler func(c *Console, q *request) (*page, error)

// routes are all pages. Those that change something are posts.
func (c *Console) routes() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /static/{version}/{file}", c.serveStatic)
	m.HandleFunc("GET /signin", c.signIn)
	m.HandleFunc("POST /signin", c.signIn)
	m.HandleFunc("GET /signin/link", c.signInByLink)
	m.HandleFunc("POST /signin/link", c.signInByLink)
	m.HandleFunc("GET /signin/sso", c.signInElsewhere)
	m.HandleFunc("GET /signin/sso/callback", c.signedInElsewhere)
	m.HandleFunc("POST /signout", c.signOut)
	m.HandleFunc("GET /live", c.live)
	for pattern, h := range pages {
		m.HandleFunc(pattern, c.page(pattern, h))
	}
	m.HandleFunc("/", c.nowhere)
	return m
}

// pages are the pages of those who have signed in.
var pages = map[string]handler{
	"GET /{$}":                              (*Console).overview,
	"GET /go/view":                          (*Console).goView,
	"GET /search":                           (*Console).search,
	"GET /repositories":                     (*Console).repositories,
	"GET /repositories/new":                 (*Console).newRepository,
	"POST /repositories/new":                (*Console).newRepository,
	"GET /repositories/{region}/{name...}":  (*Console).repository,
	"POST /repositories/{region}/{name...}": (*Console).changeRepository,
	"GET /images/{region}/{name...}":        (*Console).image,
	"POST /images/{region}/{name...}":       (*Console).changeImage,
	"GET /templates":                        (*Console).templates,
	"GET /templates/{region}":               (*Console).template,
	"POST /templates/{region}":              (*Console).changeTemplate,
	"GET /pushes":                           (*Console).pushes,
	"GET /pushes/{region}/{name...}":        (*Console).push,
	"GET /rules":                            (*Console).rules,
	"POST /rules":                           (*Console).makeRule,
	"GET /rules/{region}/{name}":            (*Console).rule,
	"POST /rules/{region}/{name}":           (*Console).changeRule,
	"GET /functions":                        (*Console).functionList,
	"POST /functions":                       (*Console).makeFunction,
	"GET /functions/{region}/{name}":        (*Console).function,
	"POST /functions/{region}/{name}":       (*Console).changeFunction,
	"GET /logs":                             (*Console).logs,
	"GET /users":                            people("users"),
	"POST /users":                           makePeople("users"),
	"GET /users/{name}":                     person("users"),
	"POST /users/{name}":                    changePerson("users"),
	"GET /groups":                           people("groups"),
	"POST /groups":                          makePeople("groups"),
	"GET /groups/{name}":                    person("groups"),
	"POST /groups/{name}":                   changePerson("groups"),
	"GET /roles":                            people("roles"),
	"POST /roles":                           makePeople("roles"),
	"GET /roles/{name}":                     person("roles"),
	"POST /roles/{name}":                    changePerson("roles"),
	"GET /policies":                         (*Console).policies,
	"POST /policies":                        (*Console).makePolicy,
	"GET /policies/view":                    (*Console).policy,
	"POST /policies/view":                   (*Console).changePolicy,
	"GET /catalog":                          (*Console).catalog,
	"GET /catalog/{blueprint}":              (*Console).entities,
	"POST /catalog/{blueprint}":             (*Console).makeEntity,
	"GET /catalog/{blueprint}/{id...}":      (*Console).entity,
	"POST /catalog/{blueprint}/{id...}":     (*Console).changeEntity,
	"GET /unowned":                          (*Console).unowned,
	"POST /unowned":                         (*Console).linkUnowned,
	"GET /builder":                          (*Console).builder,
	"POST /builder":                         (*Console).makeBlueprint,
	"GET /builder/{blueprint}":              (*Console).builderOne,
	"POST /builder/{blueprint}":             (*Console).changeBlueprint,
	"GET /mapping":                          (*Console).mapping,
	"POST /mapping":                         (*Console).changeMapping,
	"GET /explain":                          (*Console).explain,
	"GET /me":                               (*Console).myself,
	"POST /me":                              (*Console).changeMyself,
	"GET /accounts":                         (*Console).accounts,
	"POST /accounts":                        (*Console).changeAccounts,
	"GET /audit":                            (*Console).audit,
	"GET /audit/{region}/{id}":              (*Console).auditRecord,
}

func (c *Console) page(pattern string, h handler) http.HandlerFunc {
	changes := strings.HasPrefix(pattern, http.MethodPost)
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := c.authenticate(w, r)
		if !ok {
			return
		}
		if changes {
			if err := c.checkForm(q); err != nil {
				c.show(q, errorPage(http.StatusForbidden, "The form was refused", err.Error()))
				return
			}
		}
		q.newest = c.mark(q, liveChanges)
		p, err := h(c, q)
		if err != nil {
			p = c.failed(q, err)
		}
		if p != nil { // else it has answered already
			c.show(q, p)
		}
	}
}

func (c *Console) nowhere(w http.ResponseWriter, r *http.Request) {
	if cookie(r, sessionCookie) == "" { // it may be no browser
		http.Error(w, "There is nothing here. Berth serves its console at /, the OCI registry under /v2/, the catalog's API under /v1/, and signed AWS API calls.", http.StatusNotFound)
		return
	}
	if q, ok := c.authenticate(w, r); ok {
		c.show(q, errorPage(http.StatusNotFound, "There is nothing here", "The address "+r.URL.Path+" names no page of the console."))
	}
}
