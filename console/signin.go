package console

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

// signInView is the page before the others.
type signInView struct {
	To, Problem string
	// Tab is which way is shown: key or password.
	Tab           string
	KeyID         string
	Account, User string
	Change        bool // the password has to be changed
	SSO           string
	Insecure      bool // the password would travel unprotected
	Code          string
}

func (c *Console) signInPage(r *http.Request, v signInView) *page {
	caller := gate.CallerFrom(r.Context())
	v.Insecure = !caller.Secure && caller.SourceIP != "127.0.0.1" && caller.SourceIP != "::1"
	if c.oidc != nil {
		v.SSO = c.oidc.Name
	}
	return &page{Title: "Sign in", view: "signin", Body: v}
}

var (
	errWrongKey = wrong("The access key or its secret is wrong, or the key is not active.")
	errTooMany  = wrong("Too many attempts with wrong credentials came from your address. Wait a minute.")
)

// signIn shows the form and takes it: with an access key, or a user's password.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	v := signInView{To: local(r.FormValue("to")), Tab: "key", Account: string(c.host.Home().Account)}
	if r.FormValue("with") == "password" {
		v.Tab = "password"
	}
	q := &request{Request: r, w: w, ctx: r.Context(), caller: gate.CallerFrom(r.Context())}
	if r.Method == http.MethodGet {
		c.show(q, c.signInPage(r, v))
		return
	}
	var token secret.String
	err := sameOrigin(r)
	if err == nil {
		if v.Tab == "password" {
			token, err = c.byPassword(q, &v)
		} else {
			token, err = c.byKey(q, &v)
		}
	}
	if token != "" {
		c.enter(w, r, token, v.Tab, v.To)
		return
	}
	p := c.signInPage(r, v)
	if err != nil {
		v.Problem = err.Error()
		p = c.signInPage(r, v)
		p.Status = http.StatusUnauthorized
		c.host.SignedIn(q.ctx, v.Tab, err)
	}
	c.show(q, p)
}

// enter gives the browser its session and sends it on.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, token secret.String, how, to string) {
	if old := secret.String(cookie(r, sessionCookie)); old != "" { // a session is not carried over
		if err := c.identity.CloseBrowser(r.Context(), old); err != nil {
			c.log.Warn("the session before could not be ended", "error", err)
		}
	}
	if b, err := c.identity.Browser(r.Context(), token); err == nil {
		caller := gate.CallerFrom(r.Context())
		caller.Principal = b.Principal
		c.host.SignedIn(gate.WithCaller(r.Context(), caller), how, nil)
	}
	setCookie(w, r, sessionCookie, token.Reveal(), 0)
	http.Redirect(w, r, local(to), http.StatusSeeOther)
}

// byKey signs in with an access key and its secret, and the session token of temporary
// ones.
func (c *Console) byKey(q *request, v *signInView) (secret.String, error) {
	v.KeyID = strings.TrimSpace(q.PostFormValue("key"))
	key, err := c.identity.LookupKey(q.ctx, v.KeyID, strings.TrimSpace(q.PostFormValue("session")))
	given := strings.TrimSpace(q.PostFormValue("secret"))
	switch {
	case err == nil && subtle.ConstantTimeCompare([]byte(given), []byte(key.Secret.Reveal())) == 1:
		c.identity.Used(v.KeyID, "signin", q.caller.Region)
		return c.identity.OpenBrowser(q.ctx, v.KeyID, "")
	case err != nil && !errors.Is(err, identity.ErrUnknownKey) && !errors.Is(err, identity.ErrBadToken) && !errors.Is(err, identity.ErrExpired):
		return "", c.broken(err)
	}
	return "", c.refused(q, v.KeyID, errWrongKey)
}

// broken is an error that is nobody's fault who signs in.
func (c *Console) broken(err error) error {
	c.log.Error("signing in failed", "error", err)
	return wrong("The server could not check that just now. Its log says why.")
}

// refused counts an attempt that failed.
func (c *Console) refused(q *request, who string, err error) error {
	if _, tooMany := c.failures.Failed(q.caller.SourceIP, who); tooMany {
		return errTooMany
	}
	return err
}

// byPassword signs in with an account's id or alias, a user's name and password.
func (c *Console) byPassword(q *request, v *signInView) (secret.String, error) {
	v.Account, v.User = strings.TrimSpace(q.PostFormValue("account")), strings.TrimSpace(q.PostFormValue("user"))
	password := secret.String(q.PostFormValue("password"))
	// Each attempt counts, since it costs a slow hash.
	if _, tooMany := c.failures.Failed(q.caller.SourceIP, v.Account+" "+v.User); tooMany {
		return "", errTooMany
	}
	p, change, err := c.identity.CheckPassword(q.ctx, arn.Account(v.Account), v.User, password)
	if identity.CodeOf(err) == identity.AccessDenied {
		return "", err
	}
	if err != nil {
		return "", c.broken(err)
	}
	if change {
		next := secret.String(q.PostFormValue("new"))
		v.Change = true
		switch {
		case next == "":
			return "", nil // ask for one
		case next == password:
			return "", wrong("The new password must be another one.")
		}
		no := false
		if _, err := c.identity.SetPassword(q.ctx, p.Account, v.User, next, &no, false); err != nil {
			return "", err
		}
	}
	return c.identity.PasswordBrowser(q.ctx, p, v.User)
}

// signInByLink opens a session by a link that berth console printed. Looking at it does not
// use it up: mail programs and chats look at links.
func (c *Console) signInByLink(w http.ResponseWriter, r *http.Request) {
	q := &request{Request: r, w: w, ctx: r.Context(), caller: gate.CallerFrom(r.Context())}
	v := signInView{Tab: "link", Code: r.FormValue("code"), To: local(r.FormValue("to"))}
	if r.Method == http.MethodGet {
		c.show(q, c.signInPage(r, v))
		return
	}
	err := sameOrigin(r)
	var token secret.String
	if err == nil {
		token, err = c.identity.RedeemLink(r.Context(), secret.String(v.Code))
	}
	switch {
	case errors.Is(err, identity.ErrNoBrowser):
		err = c.refused(q, "link", wrong("This link was used already, or is older than ten minutes. Run berth console again."))
	case err == nil:
		c.enter(w, r, token, "link", v.To)
		return
	case !errors.Is(err, errForeign):
		err = c.broken(err)
	}
	c.host.SignedIn(q.ctx, "link", err)
	v.Problem, v.Tab, v.Code = err.Error(), "key", ""
	p := c.signInPage(r, v)
	p.Status = http.StatusUnauthorized
	c.show(q, p)
}

// query makes a path with a query of names and values, leaving out empty ones.
func query(path string, pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}
