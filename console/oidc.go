package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/internal/egress"
	"github.com/berth-registry/berth/secret"
)

// OIDC is single sign-on by OpenID Connect (Core 1.0, authorisation code flow, with PKCE of
// RFC 7636). The provider's tokens are turned into a session of a role, as STS does for any
// web identity: the account must have the provider, and the role's trust policy decides.
type OIDC struct {
	Name     string // on the button
	Issuer   string // address, https://…
	ClientID string
	Secret   secret.String // "" for public clients
	Role     string        // ARN
	Session  time.Duration // how long a session lasts; 0 leaves it to the role
	HTTP     *egress.Client
}

// oidc is OIDC with what the provider says of itself.
type oidc struct {
	OIDC
	mu        sync.Mutex
	endpoints *endpoints
	read      time.Time
}

func newOIDC(o OIDC) *oidc { return &oidc{OIDC: o} }

// endpoints are what of a provider's configuration is used (OpenID Connect Discovery 1.0,
// section 3).
type endpoints struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
}

const (
	discoveryFor  = 10 * time.Minute
	signInFor     = 10 * time.Minute
	maxAnswer     = 256 << 10
	callbackPath  = "/signin/sso/callback"
	stateLength   = 24
	ssoTimeout    = 15 * time.Second
	sessionNameMx = 64
)

// discover reads the provider's configuration.
func (o *oidc) discover(ctx context.Context) (*endpoints, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.endpoints != nil && time.Since(o.read) < discoveryFor {
		return o.endpoints, nil
	}
	e := &endpoints{}
	if err := o.fetch(ctx, http.MethodGet, strings.TrimSuffix(o.Issuer, "/")+"/.well-known/openid-configuration", http.Header{}, nil, e); err != nil {
		return nil, err
	}
	if strings.TrimSuffix(e.Issuer, "/") != strings.TrimSuffix(o.Issuer, "/") || e.Authorization == "" || e.Token == "" {
		return nil, fmt.Errorf("the provider at %s says it is %q", o.Issuer, e.Issuer)
	}
	o.endpoints, o.read = e, time.Now()
	return e, nil
}

func (o *oidc) fetch(ctx context.Context, method, address string, header http.Header, body []byte, out any) error {
	header.Set("Accept", "application/json")
	a, err := o.HTTP.Call(ctx, method, address, header, body, maxAnswer)
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("%s answered %d", address, a.Status)
	}
	return json.Unmarshal(a.Body, out)
}

// signInState is what a browser brings back, sealed in a cookie.
type signInState struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	To       string    `json:"t"`
	Until    time.Time `json:"u"`
}

func randomText() string {
	b := make([]byte, stateLength)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// signInElsewhere sends the browser to the provider.
func (c *Console) signInElsewhere(w http.ResponseWriter, r *http.Request) {
	if c.oidc == nil {
		c.nowhere(w, r)
		return
	}
	if own, err := url.Parse(c.host.URL()); err == nil && !strings.EqualFold(own.Host, r.Host) { // where the provider will send the browser back to
		http.Redirect(w, r, c.host.URL()+query("/signin/sso", "to", local(r.FormValue("to"))), http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ssoTimeout)
	defer cancel()
	e, err := c.oidc.discover(ctx)
	if err != nil {
		c.notElsewhere(w, r, c.broken(err))
		return
	}
	s := signInState{randomText(), randomText(), randomText() + randomText(), local(r.FormValue("to")), c.now().Add(signInFor)}
	b, err := json.Marshal(s)
	if err != nil {
		c.notElsewhere(w, r, c.broken(err))
		return
	}
	setCookie(w, r, stateCookie, base64.RawURLEncoding.EncodeToString(c.seal.Seal(b, stateCookie)), int(signInFor/time.Second))
	challenge := sha256.Sum256([]byte(s.Verifier))
	v := url.Values{"response_type": {"code"}, "client_id": {c.oidc.ClientID}, "redirect_uri": {c.host.URL() + callbackPath}, "scope": {"openid email profile"},
		"state": {s.State}, "nonce": {s.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	join := "?"
	if strings.Contains(e.Authorization, "?") {
		join = "&"
	}
	http.Redirect(w, r, e.Authorization+join+v.Encode(), http.StatusSeeOther)
}

// notElsewhere shows why single sign-on did not work.
func (c *Console) notElsewhere(w http.ResponseWriter, r *http.Request, err error) {
	q := &request{Request: r, w: w, ctx: r.Context(), caller: gate.CallerFrom(r.Context())}
	c.host.SignedIn(q.ctx, "sso", err)
	p := c.signInPage(r, signInView{Tab: "key", To: "/", Problem: err.Error()})
	p.Status = http.StatusUnauthorized
	c.show(q, p)
}

// signedInElsewhere takes what the provider sends back.
func (c *Console) signedInElsewhere(w http.ResponseWriter, r *http.Request) {
	if c.oidc == nil {
		c.nowhere(w, r)
		return
	}
	s, err := c.openState(r)
	setCookie(w, r, stateCookie, "", -1)
	if err == nil && r.FormValue("error") != "" {
		err = wrong("The provider refused: %.300s", r.FormValue("error_description")+" ("+r.FormValue("error")+")")
	}
	if err != nil {
		c.notElsewhere(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ssoTimeout)
	defer cancel()
	token, err := c.exchange(ctx, r.FormValue("code"), s)
	if err != nil {
		c.notElsewhere(w, r, err)
		return
	}
	c.enter(w, r, token, "sso", s.To)
}

// openState finds what the browser went away with, and checks that it is the same that
// came back (RFC 6749, section 10.12).
func (c *Console) openState(r *http.Request) (*signInState, error) {
	lost := wrong("Signing in took longer than ten minutes, or began in another browser. Try again.")
	sealed, err := base64.RawURLEncoding.DecodeString(cookie(r, stateCookie))
	if err != nil {
		return nil, lost
	}
	b, err := c.seal.Open(sealed, stateCookie)
	s := &signInState{}
	if err != nil || json.Unmarshal(b, s) != nil || c.now().After(s.Until) || subtle.ConstantTimeCompare([]byte(s.State), []byte(r.FormValue("state"))) != 1 {
		return nil, lost
	}
	return s, nil
}

var sessionName = regexp.MustCompile(`[^A-Za-z0-9_+=,.@-]+`)

// exchange turns a code into the provider's token, and that into a session.
func (c *Console) exchange(ctx context.Context, code string, s *signInState) (secret.String, error) {
	e, err := c.oidc.discover(ctx)
	if err != nil {
		return "", c.broken(err)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.host.URL() + callbackPath}, "client_id": {c.oidc.ClientID}, "code_verifier": {s.Verifier}}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if c.oidc.Secret != "" { // RFC 6749, section 2.3.1
		basic := url.QueryEscape(c.oidc.ClientID) + ":" + url.QueryEscape(c.oidc.Secret.Reveal())
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(basic)))
	}
	var out struct {
		IDToken string `json:"id_token"`
	}
	if err := c.oidc.fetch(ctx, http.MethodPost, e.Token, header, []byte(form.Encode()), &out); err != nil {
		return "", c.broken(err)
	}
	claims, err := claimsOf(out.IDToken)
	if err != nil || subtle.ConstantTimeCompare([]byte(claims.Nonce), []byte(s.Nonce)) != 1 {
		return "", wrong("The provider's token is not for this attempt to sign in.")
	}
	name := claims.name()
	in := &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(c.oidc.Role), RoleSessionName: aws.String(name), WebIdentityToken: aws.String(out.IDToken)}
	if c.oidc.Session > 0 {
		in.DurationSeconds = aws.Int32(int32(c.oidc.Session / time.Second))
	}
	got, err := ask[sts.AssumeRoleWithWebIdentityOutput](ctx, c.api, in) // it verifies the token
	if err != nil {
		return "", errors.New(c.tell(err))
	}
	token, err := c.identity.OpenBrowser(ctx, aws.ToString(got.Credentials.AccessKeyId), name)
	if err != nil {
		return "", c.broken(err)
	}
	return token, nil
}

// idClaims are what of a token's claims is looked at here; STS verifies the token.
type idClaims struct {
	Nonce    string `json:"nonce"`
	Email    string `json:"email"`
	Username string `json:"preferred_username"`
	Subject  string `json:"sub"`
}

func claimsOf(token string) (*idClaims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("it is no JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	c := &idClaims{}
	return c, json.Unmarshal(b, c)
}

// name is what the session is called: STS allows few characters.
func (c *idClaims) name() string {
	for _, s := range []string{c.Email, c.Username, c.Subject} {
		if s = sessionName.ReplaceAllString(s, "-"); len(s) >= 2 {
			return s[:min(len(s), sessionNameMx)]
		}
	}
	return "console"
}
