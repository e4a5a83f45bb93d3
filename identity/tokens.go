package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/secret"
)

// TokenLife is how long a registry authorization token is good for.
const TokenLife = 12 * time.Hour

// Username is the user name that goes with a registry token as the password.
const Username = "AWS"

// Token is a registry authorization token once opened.
type Token struct {
	Principal arn.Principal
	// Registry and Region say where the token was asked for. They route requests
	// whose host does not say; they are no right.
	Registry arn.Account
	Region   arn.Region
	Expires  time.Time
}

// payload is what tokens carry, sealed. The names are short because clients
// store the result.
type payload struct {
	Kind     arn.Kind    `json:"k"`
	Account  arn.Account `json:"a"`
	ARN      string      `json:"p"`
	ID       string      `json:"i"`
	Key      string      `json:"c"`
	Registry arn.Account `json:"r,omitempty"`
	Region   arn.Region  `json:"g,omitempty"`
	Expires  int64       `json:"e"`
}

func (p payload) principal() arn.Principal {
	return arn.Principal{Kind: p.Kind, Account: p.Account, ARN: p.ARN, ID: p.ID, AccessKeyID: p.Key}
}

func payloadOf(p arn.Principal) payload {
	return payload{Kind: p.Kind, Account: p.Account, ARN: p.ARN, ID: p.ID, Key: p.AccessKeyID}
}

func seal(box *secret.Box, p payload, context string) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return base64.RawURLEncoding.EncodeToString(box.Seal(b, context))
}

func unseal(box *secret.Box, token, context string) (payload, error) {
	var p payload
	if len(token) > 4096 {
		return p, ErrBadToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return p, ErrBadToken
	}
	if b, err = box.Open(b, context); err != nil {
		return p, ErrBadToken
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, ErrBadToken
	}
	return p, nil
}

// IssueToken makes the password of a registry login for a principal: printable,
// without ':' and white space, under 1 KiB.
func (id *Identity) IssueToken(p arn.Principal, registry arn.Account, region arn.Region) (string, time.Time) {
	expires := id.now().Add(TokenLife).Truncate(time.Second)
	t := payloadOf(p)
	t.Registry, t.Region, t.Expires = registry, region, expires.Unix()
	return seal(id.tokens, t, ""), expires
}

// VerifyToken opens the password of a registry login: ErrBadToken, ErrExpired,
// and ErrUnknownKey when the key that asked for it is no longer good.
func (id *Identity) VerifyToken(ctx context.Context, password string) (Token, error) {
	sum := sha256.Sum256([]byte(password))
	id.mu.Lock()
	t, ok := id.verified[sum]
	id.mu.Unlock()
	if !ok {
		p, err := unseal(id.tokens, password, "")
		if err != nil {
			return Token{}, err
		}
		t = Token{Principal: p.principal(), Registry: p.Registry, Region: p.Region, Expires: time.Unix(p.Expires, 0)}
		id.mu.Lock()
		if len(id.verified) >= maxCached {
			clear(id.verified)
		}
		id.verified[sum] = t
		id.mu.Unlock()
	}
	if !id.now().Before(t.Expires) {
		return Token{}, ErrExpired
	}
	return t, id.alive(ctx, t.Principal)
}

// alive checks that what a token stands for is still there: ErrUnknownKey. A
// session may have ended meanwhile; its role must not.
func (id *Identity) alive(ctx context.Context, p arn.Principal) error {
	if temporary(p.AccessKeyID) {
		s, err := id.session(ctx, p.AccessKeyID)
		if err == nil && s.Principal != p {
			err = ErrUnknownKey
		}
		return err
	}
	k, err := id.LookupKey(ctx, p.AccessKeyID, "")
	if err == nil && k.Principal.ID != p.ID {
		err = ErrUnknownKey
	}
	return err
}

// GrantParam is the query parameter of a download URL that carries a grant.
const GrantParam = "berth-grant"

// Grant allows reading one layer for a while, to whoever holds it.
type Grant struct {
	Place      arn.Place
	Repository string
	Digest     string
}

// IssueGrant makes a grant for a URL, in the name of the principal who asked.
func (id *Identity) IssueGrant(p arn.Principal, g Grant, life time.Duration) string {
	t := payloadOf(p)
	t.Registry, t.Region = g.Place.Account, g.Place.Region
	t.Expires = id.now().Add(life).Unix()
	return seal(id.grants, t, g.Repository+"@"+g.Digest)
}

// OpenGrant checks a grant for a layer of a repository and says in which registry
// it is and in whose name: ErrBadToken, ErrExpired.
func (id *Identity) OpenGrant(token, repository, digest string) (arn.Principal, arn.Place, error) {
	p, err := unseal(id.grants, token, repository+"@"+digest)
	if err != nil {
		return arn.Principal{}, arn.Place{}, err
	}
	if id.now().Unix() >= p.Expires {
		return arn.Principal{}, arn.Place{}, ErrExpired
	}
	return p.principal(), arn.Place{Account: p.Registry, Region: p.Region}, nil
}

// PageToken makes an opaque token for the page after last, of a query.
func (id *Identity) PageToken(query, last string) string { return id.pages.Token(query, last) }

// OpenPageToken reads a page token of the same query, "" being the first page:
// ValidationError.
func (id *Identity) OpenPageToken(query, token string) (last string, err error) {
	if err := id.pages.Untoken(query, token, &last); err != nil {
		return "", fail(ValidationError, "Invalid Marker.")
	}
	return last, nil
}
