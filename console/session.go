package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

// The cookies. Over TLS the prefix keeps other hosts and paths from setting them
// (RFC 6265bis, section 4.1.3); without TLS browsers refuse it.
const (
	sessionCookie = "berth-session"
	flashCookie   = "berth-flash"
	themeCookie   = "berth-theme"
	stateCookie   = "berth-signin"
	hostPrefix    = "__Host-"
)

// cookieName is a cookie's name for a request.
func cookieName(r *http.Request, name string) string {
	if gate.CallerFrom(r.Context()).Secure {
		return hostPrefix + name
	}
	return name
}

// setCookie sets a cookie for as many seconds; 0 is until the browser ends, less removes it.
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r, name), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true,
		Secure: gate.CallerFrom(r.Context()).Secure, SameSite: http.SameSiteLaxMode})
}

func cookie(r *http.Request, name string) string {
	c, err := r.Cookie(cookieName(r, name))
	if err != nil {
		return ""
	}
	return c.Value
}

// authenticate finds who asks. Who has no session is sent to sign in, and answered.
func (c *Console) authenticate(w http.ResponseWriter, r *http.Request) (*request, bool) {
	token := secret.String(cookie(r, sessionCookie))
	b, err := c.identity.Browser(r.Context(), token)
	switch {
	case errors.Is(err, identity.ErrNoBrowser):
		if r.Header.Get("Sec-Fetch-Dest") == "empty" { // a script's
			http.Error(w, "Sign in", http.StatusUnauthorized)
			return nil, false
		}
		to := "/signin"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?to=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil, false
	case err != nil:
		c.log.Error("a session of the console cannot be read", "error", err)
		http.Error(w, "The console cannot read sessions just now. Try again.", http.StatusServiceUnavailable)
		return nil, false
	}
	caller := gate.CallerFrom(r.Context())
	caller.Principal, caller.Region = b.Principal, c.host.Home().Region
	if reg := arn.Region(r.PathValue("region")); reg != "" {
		if !reg.Valid() {
			http.Error(w, "The region is no name of a region.", http.StatusNotFound)
			return nil, false
		}
		caller.Region = reg
	}
	q := &request{Request: r, w: w, caller: caller, me: b, token: token}
	q.ctx = gate.WithCaller(r.Context(), caller)
	return q, true
}

// formToken is what forms of a session carry: a page of another site cannot know it.
func (c *Console) formToken(token secret.String) string {
	m := hmac.New(sha256.New, c.forms)
	m.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

var errForeign = errors.New("it did not come from a page of this console. Open the page again and repeat what you did")

// checkForm refuses a form that another site sent: RELIABILITY S21.
func (c *Console) checkForm(q *request) error {
	if err := sameOrigin(q.Request); err != nil {
		return err
	}
	if err := q.ParseForm(); err != nil {
		return errors.New("it could not be read; it may be longer than 1 MiB")
	}
	if subtle.ConstantTimeCompare([]byte(q.PostFormValue("csrf")), []byte(c.formToken(q.token))) != 1 {
		return errForeign
	}
	return nil
}

// sameOrigin refuses what a browser says comes from another origin.
func sameOrigin(r *http.Request) error {
	if s := r.Header.Get("Sec-Fetch-Site"); s != "" && s != "same-origin" && s != "none" {
		return errForeign
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || !strings.EqualFold(u.Host, r.Host) {
		return errForeign
	}
	return nil
}

// local is a path of this console to go on to, "/" for anything else.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") ||
		strings.HasPrefix(u.Path, "/signin") || strings.HasPrefix(u.Path, "/live") {
		return "/"
	}
	return to
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	q, ok := c.authenticate(w, r)
	if !ok {
		return
	}
	if err := c.checkForm(q); err != nil {
		c.show(q, errorPage(http.StatusForbidden, "The form was refused", err.Error()))
		return
	}
	if err := c.identity.CloseBrowser(q.ctx, q.token); err != nil {
		c.show(q, c.failed(q, err))
		return
	}
	setCookie(w, r, sessionCookie, "", -1)
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
}
