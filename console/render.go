package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/identity"
)

//go:embed templates static
var files embed.FS

func staticFiles() fs.FS {
	sub, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the directory is part of the program
	}
	return sub
}

// views are the templates, read when the first page is asked for, so that a start does not
// wait for them.
type views struct {
	*template.Template
	version string // of the static files, so that browsers may keep them
}

func parseViews() (*views, error) {
	sum := sha256.New()
	for _, name := range []string{"berth.css", "berth.js", "icon.svg"} {
		b, err := fs.ReadFile(files, "static/"+name)
		if err != nil {
			return nil, err
		}
		sum.Write(b)
	}
	v := &views{version: hex.EncodeToString(sum.Sum(nil))[:12]}
	t, err := template.New("").Funcs(functions()).ParseFS(files, "templates/*.html")
	v.Template = t
	return v, err
}

// page is what a handler has to show.
type page struct {
	Title   string
	Section string // of the navigation
	Status  int    // 0 is 200
	// Live is what the page shows as it changes: "changes" of the account, or a log group as
	// logs/REGION/NAME. Its parts with an id and data-live are brought up to date.
	Live string
	// Mark is how far that was before the page was read: what came later is news. Handlers
	// give it for log groups, show for the changes.
	Mark int64
	Body any

	view string // name of its template
}

// crumb is a step of the way to a page.
type crumb struct{ Text, To string }

// screen is what the templates see.
type screen struct {
	*page
	B       any // the page's Body
	Me      *me
	CSRF    string
	Theme   string
	Version string // of the static files
	Server  string
	Flash   *flash
	Path    string // of this page, with its query
	Here    string // without
	Now     time.Time
	Nav     []navGroup
	Problem *part // why a form could not be taken
	q       *request
}

// Typed is what a field held when its form could not be taken, else fallback.
func (s screen) Typed(name, fallback string) string {
	if s.Problem != nil && s.q.PostForm.Has(name) {
		return s.q.PostFormValue(name)
	}
	return fallback
}

// me is who has signed in, as the screen shows it.
type me struct {
	ARN, Name, Account string
	Ends               time.Time
}

func whoIs(b *identity.Browser) *me {
	m := &me{ARN: b.Principal.ARN, Account: string(b.Principal.Account), Ends: b.Ends}
	m.Name = m.ARN[strings.LastIndexAny(m.ARN, "/:")+1:]
	return m
}

// flash tells once what a form did, and the command that does the same.
type flash struct {
	Text string `json:"t"`
	CLI  string `json:"c,omitempty"`
}

// done answers a form: it goes to a page, which tells what was done.
func (q *request) done(to, text, cli string) (*page, error) {
	b, err := json.Marshal(flash{Text: text, CLI: cli})
	if err != nil {
		return nil, err
	}
	if len(b) > 3000 { // a cookie holds 4096 bytes
		if b, err = json.Marshal(flash{Text: text}); err != nil {
			return nil, err
		}
	}
	setCookie(q.w, q.Request, flashCookie, base64.RawURLEncoding.EncodeToString(b), 60)
	http.Redirect(q.w, q.Request, to, http.StatusSeeOther)
	return nil, nil
}

func takeFlash(q *request) *flash {
	text := cookie(q.Request, flashCookie)
	if text == "" || q.Header.Get("X-Berth-Live") != "" {
		return nil
	}
	setCookie(q.w, q.Request, flashCookie, "", -1)
	b, err := base64.RawURLEncoding.DecodeString(text)
	f := &flash{}
	if err != nil || json.Unmarshal(b, f) != nil {
		return nil
	}
	return f
}

// show writes a page.
func (c *Console) show(q *request, p *page) {
	v, err := c.views()
	if err != nil {
		c.log.Error("the console's pages cannot be read", "error", err)
		http.Error(q.w, "The console is broken.", http.StatusInternalServerError)
		return
	}
	s := screen{page: p, B: p.Body, Theme: theme(q.Request), Version: v.version, Server: c.host.Version(), Path: q.URL.RequestURI(), Here: q.URL.Path, Now: c.now(), Problem: q.problem, q: q}
	layout := "plain"
	if q.me != nil {
		layout, s.Me, s.CSRF, s.Flash, s.Nav = "layout", whoIs(q.me), c.formToken(q.token), takeFlash(q), navigation
	}
	if p.Live == liveChanges {
		p.Mark = q.newest
	}
	var content, b bytes.Buffer
	if err = v.ExecuteTemplate(&content, p.view, s); err == nil {
		err = v.ExecuteTemplate(&b, layout, struct {
			screen
			Content template.HTML
		}{s, template.HTML(content.String())}) //nolint:gosec // it is what the template just made
	}
	if err != nil {
		c.log.Error("a page of the console cannot be made", "page", p.view, "error", err)
		http.Error(q.w, "This page cannot be shown. The server's log says why.", http.StatusInternalServerError)
		return
	}
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if p.Status != 0 {
		q.w.WriteHeader(p.Status)
	}
	_, _ = q.w.Write(b.Bytes()) // the browser has gone
}

func theme(r *http.Request) string {
	c, err := r.Cookie(themeCookie) // which the script sets
	if err != nil || c.Value != "light" && c.Value != "dark" {
		return ""
	}
	return c.Value
}

// problem is the body of a page that tells what went wrong.
type problem struct {
	Heading, Text string
	// Request is the id under which a denial is explained.
	Request string
	Denied  bool
}

func errorPage(status int, heading, text string) *page {
	return &page{Title: heading, Status: status, view: "problem", Body: problem{Heading: heading, Text: text}}
}

// failed is the page for an error of a handler.
func (c *Console) failed(q *request, err error) *page {
	p := problem{Heading: "That did not work", Text: c.tell(err), Request: q.caller.RequestID, Denied: isDenied(err)}
	status := http.StatusBadRequest
	switch {
	case p.Denied:
		p.Heading, status = "You may not do that", http.StatusForbidden
	case isMissing(err):
		p.Heading, status = "It is not there", http.StatusNotFound
	case codeOf(err) == "":
		status = http.StatusInternalServerError
	}
	return &page{Title: p.Heading, Status: status, view: "problem", Body: p}
}

// tell is an error's text for people.
func (c *Console) tell(err error) string {
	var e smithy.APIError
	var own *inputError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &own):
		return own.text
	case errors.As(err, &e):
		return e.ErrorMessage()
	case errors.Is(err, context.Canceled):
		return "The request was cancelled."
	}
	c.log.Error("a page of the console failed", "error", err)
	return "Something went wrong here. The server's log says what."
}

// inputError is something a form has that no call can be made of.
type inputError struct{ text string }

func (e *inputError) Error() string { return e.text }

// ErrorCode makes it one that the caller caused.
func (e *inputError) ErrorCode() string { return "ValidationError" }

// ErrorMessage implements smithy.APIError.
func (e *inputError) ErrorMessage() string { return e.text }

// ErrorFault implements smithy.APIError.
func (e *inputError) ErrorFault() smithy.ErrorFault { return smithy.FaultClient }

func wrong(format string, args ...any) error { return &inputError{fmt.Sprintf(format, args...)} }

// part is what a section of a page has where it could not be loaded.
type part struct {
	Text, Request string
	Denied        bool
}

// part tells why a section is missing, nil when it is there. What is not there at all is no
// error of the section.
func (c *Console) part(q *request, err error) *part {
	if err == nil {
		return nil
	}
	p := &part{Text: c.tell(err), Denied: isDenied(err)}
	if !q.quiet { // else there is no record that could be explained
		p.Request = q.caller.RequestID
	}
	return p
}

func (c *Console) serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	b, err := fs.ReadFile(c.static, name)
	if err != nil || types[path.Ext(name)] == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", types[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(b)
}

// navGroup is a group of the navigation.
type navGroup struct {
	Title string
	Items []navItem
}

type navItem struct{ Section, Text, To, Icon string }

// navigation is the way through the console.
var navigation = []navGroup{
	{"", []navItem{{"overview", "Overview", "/", "home"}}},
	{"Registry", []navItem{{"repositories", "Repositories", "/repositories", "box"}, {"templates", "Templates", "/templates", "layers"}, {"pushes", "Pushes", "/pushes", "arrow"}}},
	{"Catalog", []navItem{{"catalog", "Entities", "/catalog", "grid"}, {"builder", "Builder", "/builder", "graph"}, {"mapping", "Mapping", "/mapping", "map"}}},
	{"Events", []navItem{{"rules", "Rules", "/rules", "flow"}, {"functions", "Functions", "/functions", "bolt"}, {"logs", "Logs", "/logs", "log"}}},
	{"Access", []navItem{{"users", "Users", "/users", "user"}, {"groups", "Groups", "/groups", "users"}, {"roles", "Roles", "/roles", "shield"}, {"policies", "Policies", "/policies", "key"},
		{"explain", "Explain", "/explain", "help"}, {"audit", "Audit log", "/audit", "list"}}},
}
