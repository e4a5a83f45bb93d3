package portapi

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
)

// tokenLife is how long an access token serves.
const tokenLife = 3 * time.Hour

// tokens makes and reads access tokens: JWTs, because clients look into them, signed with
// a key of this deployment. The session token of temporary keys is sealed inside.
type tokens struct {
	key []byte
	box *secret.Box
}

const issuer = "berth"

func newTokens(m *secret.Master) *tokens {
	if m == nil {
		return nil
	}
	return &tokens{m.Derive("catalog-access-tokens"), m.Box("catalog-access-sessions")}
}

// claims are those of an access token.
type claims struct {
	jwt.Claims
	OrgID     string `json:"orgId"`
	IsMachine bool   `json:"isMachine"`
	Session   string `json:"session,omitempty"`
}

func (t *tokens) issue(account arn.Account, keyID, sessionToken string, now time.Time) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: t.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	c := claims{Claims: jwt.Claims{Issuer: issuer, Subject: keyID, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(tokenLife))}, OrgID: string(account), IsMachine: true}
	if sessionToken != "" {
		c.Session = t.box.Token(keyID, sessionToken)
	}
	return jwt.Signed(signer).Claims(c).Serialize()
}

// open reads a token that this deployment made and whose time is not over.
func (t *tokens) open(text string, now time.Time) (keyID, sessionToken string, err error) {
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return "", "", err
	}
	var c claims
	if err := parsed.Claims(t.key, &c); err != nil {
		return "", "", err
	}
	if c.Expiry == nil {
		return "", "", errors.New("the token has no end")
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Issuer: issuer, Time: now}, 0); err != nil {
		return "", "", err
	}
	if c.Session != "" {
		if err := t.box.Untoken(c.Subject, c.Session, &sessionToken); err != nil {
			return "", "", err
		}
	}
	return c.Subject, sessionToken, nil
}

func unauthorized(format string, args ...any) error {
	return refuse(http.StatusUnauthorized, "unauthorized", format, args...)
}

// authenticate finds the caller by the access token.
func (s *Service) authenticate(q *request) error {
	scheme, token, _ := strings.Cut(q.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return unauthorized("An access token is needed: POST /v1/auth/access_token with clientId and clientSecret gives one")
	}
	keyID, session, err := s.tokens.open(strings.TrimSpace(token), time.Now())
	if err != nil {
		return s.failed(q, "access token", unauthorized("The access token is not valid, or its time is over"))
	}
	key, err := s.identity.LookupKey(q.Context(), keyID, session)
	if err != nil {
		return s.keyError(q, keyID, err)
	}
	q.caller.Principal, q.account = key.Principal, key.Principal.Account
	return nil
}

func (s *Service) keyError(q *request, who string, err error) error {
	if errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrBadToken) || errors.Is(err, identity.ErrExpired) {
		return s.failed(q, who, unauthorized("The client id and secret, or the access token made from them, are not valid"))
	}
	return err
}

// failed counts a failed login.
func (s *Service) failed(q *request, who string, err error) error {
	if _, tooMany := s.failures.Failed(q.caller.SourceIP, who); tooMany {
		return refuse(http.StatusTooManyRequests, "rate_limited", "Too many requests with wrong credentials came from this address")
	}
	return err
}

// accessToken is POST /v1/auth/access_token.
func (s *Service) accessToken(ctx context.Context, q *request) (*reply, error) {
	var in struct {
		ClientID     string        `json:"clientId"`
		ClientSecret secret.String `json:"clientSecret"`
	}
	if err := json.Unmarshal(q.body, &in); err != nil || in.ClientID == "" || in.ClientSecret == "" || len(in.ClientID) > 200 {
		return nil, refuse(http.StatusUnprocessableEntity, "invalid_request", "The body must be an object with clientId and clientSecret")
	}
	key, err := s.identity.LookupKey(ctx, in.ClientID, "")
	if err != nil {
		return nil, s.keyError(q, in.ClientID, err)
	}
	if subtle.ConstantTimeCompare([]byte(key.Secret.Reveal()), []byte(in.ClientSecret.Reveal())) != 1 {
		return nil, s.keyError(q, in.ClientID, identity.ErrUnknownKey)
	}
	s.identity.Used(in.ClientID, ServiceName, q.caller.Region)
	token, err := s.tokens.issue(key.Principal.Account, in.ClientID, "", time.Now())
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{"accessToken": token, "expiresIn": int(tokenLife.Seconds()), "tokenType": "Bearer"})
}

// TokenFor makes an access token for a caller who has been authenticated otherwise.
func (s *Service) TokenFor(caller gate.Caller) (string, time.Duration, error) {
	token, err := s.tokens.issue(caller.Principal.Account, caller.Principal.AccessKeyID, caller.Session.Reveal(), time.Now())
	return token, tokenLife, err
}
