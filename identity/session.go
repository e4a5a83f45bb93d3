package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/sqldb"
)

// Session is what temporary credentials stand for.
type Session struct {
	Principal arn.Principal `json:"principal"`
	// EntityID is the unique id of the role or user, or the account of a root.
	EntityID  string    `json:"entity"`
	IssuedAt  time.Time `json:"issued"`
	ExpiresAt time.Time `json:"expires"`
	// Tags are the session's own; those with keys in Transitive go on to the
	// sessions of roles that it assumes.
	Tags           map[string]string `json:"tags,omitempty"`
	Transitive     []string          `json:"transitive,omitempty"`
	SourceIdentity string            `json:"source,omitempty"`
	// Policies bound the session where there are any: texts, and ARNs of managed
	// policies.
	Policies   []string `json:"policies,omitempty"`
	PolicyARNs []string `json:"policyArns,omitempty"`
	// Provider is the ARN of the identity provider whose token asked for the
	// session, and Claims that token's.
	Provider string            `json:"provider,omitempty"`
	Claims   map[string]string `json:"claims,omitempty"`
	// Chained says that a role's session asked for it.
	Chained bool `json:"chained,omitempty"`

	secret secret.String
	hash   []byte
}

// sealedSession is a session at rest.
type sealedSession struct {
	*Session
	Secret string `json:"secret"`
}

func temporary(accessKeyID string) bool { return strings.HasPrefix(accessKeyID, "ASIA") }

// issue makes the credentials of a session and stores it.
func (id *Identity) issue(ctx context.Context, s *Session, life time.Duration) (Credentials, error) {
	token := make([]byte, 32)
	rand.Read(token)
	c := Credentials{AccessKeyID: newKeyID("ASIA"), Secret: newSecret(), SessionToken: base64.StdEncoding.EncodeToString(token)}
	s.IssuedAt = id.now().UTC().Truncate(time.Second)
	s.ExpiresAt = s.IssuedAt.Add(life)
	s.Principal.AccessKeyID, c.Expires = c.AccessKeyID, s.ExpiresAt
	body, err := json.Marshal(sealedSession{s, c.Secret.Reveal()})
	if err != nil {
		return Credentials{}, fmt.Errorf("seal a session: %w", err)
	}
	hash := sha256.Sum256([]byte(c.SessionToken))
	err = id.db.Write(ctx, func(tx *sqldb.Tx) error {
		return insertSession(tx, s, hash[:], id.sealed.Seal(body, c.AccessKeyID))
	})
	return c, storage(err)
}

// session returns a session by its key, ended or not: ErrUnknownKey.
func (id *Identity) session(ctx context.Context, accessKeyID string) (*Session, error) {
	return id.sessions.Get(accessKeyID, func() (*Session, error) {
		hash, sealed, err := id.readSession(ctx, accessKeyID)
		if sqldb.IsNoRows(err) {
			return nil, ErrUnknownKey
		}
		if err != nil {
			return nil, err
		}
		plain, err := id.sealed.Open(sealed, accessKeyID)
		if err != nil {
			return nil, ErrUnknownKey
		}
		full := sealedSession{Session: &Session{}}
		if err := json.Unmarshal(plain, &full); err != nil {
			return nil, err
		}
		full.secret, full.hash = secret.String(full.Secret), hash
		if open, err := id.accountOpen(ctx, full.Principal.Account); err != nil || !open {
			return nil, errors.Join(err, ErrUnknownKey)
		}
		return full.Session, nil
	})
}

// openSession finds temporary credentials: ErrBadToken, ErrUnknownKey, ErrExpired.
func (id *Identity) openSession(ctx context.Context, accessKeyID, token string) (Key, error) {
	if !temporary(accessKeyID) {
		return Key{}, ErrBadToken
	}
	s, err := id.session(ctx, accessKeyID)
	if err != nil {
		return Key{}, err
	}
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], s.hash) != 1 {
		return Key{}, ErrBadToken
	}
	if !id.now().Before(s.ExpiresAt) {
		return Key{}, ErrExpired
	}
	return Key{Principal: s.Principal, Secret: s.secret}, nil
}

// Origin is what the session's workload identity claimed, nil for none.
func (s *Session) Origin() map[string]string {
	if s == nil {
		return nil
	}
	return s.Claims
}

// SessionOf returns the session that a principal is, nil for long-term keys.
func (id *Identity) SessionOf(ctx context.Context, p arn.Principal) (*Session, error) {
	if !temporary(p.AccessKeyID) {
		return nil, nil
	}
	return id.session(ctx, p.AccessKeyID)
}

// Assume describes the session of a role that is asked for.
type Assume struct {
	Role           string // ARN
	Name           string // of the session
	Duration       time.Duration
	Tags           map[string]string
	Transitive     []string
	SourceIdentity string
	Policy         string
	PolicyARNs     []string
}

// Limits of sessions (STS API).
const (
	minSession     = 15 * time.Minute
	chainedSession = time.Hour
	maxSessionText = 2048
	maxSessionARNs = 10
)

// Role returns the role of an ARN in a hosted account, or nil.
func (id *Identity) Role(ctx context.Context, roleARN string) (*Entity, error) {
	a, err := arn.Parse(roleARN)
	rest, ok := strings.CutPrefix(a.Resource, "role/")
	if err != nil || a.Service != "iam" || !ok {
		return nil, fail(ValidationError, "%.200s is invalid", roleARN)
	}
	e, err := id.readEntity(ctx, a.Account, Role, rest[strings.LastIndexByte(rest, '/')+1:])
	if sqldb.IsNoRows(err) || err == nil && e.ARN() != roleARN {
		return nil, nil
	}
	return e, storage(err)
}

// Check checks what can be checked before anybody is asked: ValidationError,
// MalformedPolicyDocument, PackedPolicyTooLarge.
func (r *Assume) Check() error {
	if len(r.Name) < 2 {
		return fail(ValidationError, "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2")
	}
	if err := checkWord("roleSessionName", r.Name, 64); err != nil {
		return err
	}
	if r.SourceIdentity != "" {
		if err := checkWord("sourceIdentity", r.SourceIdentity, 64); err != nil {
			return err
		}
	}
	if r.Duration != 0 && (r.Duration < minSession || r.Duration > 12*time.Hour) {
		return fail(ValidationError, "1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200",
			int(r.Duration/time.Second))
	}
	if err := checkTags(nil, r.Tags); err != nil {
		return err
	}
	for _, k := range r.Transitive {
		if _, ok := r.Tags[k]; !ok {
			return fail(ValidationError, "The transitive tag key %.128q is not the key of a tag of this request", k)
		}
	}
	if len(r.PolicyARNs) > maxSessionARNs {
		return fail(ValidationError, "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", maxSessionARNs)
	}
	if len(r.Policy) > maxSessionText {
		return fail(PackedPolicyTooLarge, "Packed policy consumes %d%% of allotted space, please use smaller policy.", len(r.Policy)*100/maxSessionText)
	}
	if r.Policy != "" {
		if _, err := policy.Parse(r.Policy, policy.Identity); err != nil {
			return malformed(err)
		}
	}
	return nil
}

// AssumeRole makes a session of a role for a caller who was allowed to: base is
// the caller's own session, nil without one; web what a web identity brings.
func (id *Identity) AssumeRole(ctx context.Context, role *Entity, r Assume, base *Session, web *WebIdentity) (Credentials, *Session, error) {
	limit := role.MaxSession
	s := &Session{EntityID: role.ID, Tags: map[string]string{}, Transitive: slices.Clone(r.Transitive), SourceIdentity: r.SourceIdentity, PolicyARNs: r.PolicyARNs,
		Principal: arn.Principal{Kind: arn.KindAssumedRole, Account: role.Account, ID: role.ID + ":" + r.Name,
			ARN: arn.ARN{Service: "sts", Account: role.Account, Resource: "assumed-role/" + role.Name + "/" + r.Name}.String()}}
	maps.Copy(s.Tags, r.Tags)
	if base != nil && base.Principal.Kind == arn.KindAssumedRole {
		s.Chained, limit = true, chainedSession
		for _, k := range base.Transitive {
			if _, twice := r.Tags[k]; twice {
				return Credentials{}, nil, fail(InvalidInput, "The tag key %.128q was set as transitive by the session that asks", k)
			}
			s.Tags[k] = base.Tags[k]
			s.Transitive = append(s.Transitive, k)
		}
		if base.SourceIdentity != "" {
			if r.SourceIdentity != "" && r.SourceIdentity != base.SourceIdentity {
				return Credentials{}, nil, fail(AccessDenied, "The source identity of a session cannot be changed.")
			}
			s.SourceIdentity = base.SourceIdentity
		}
	}
	if web != nil {
		s.Provider, s.Claims = web.Provider, web.Claims
	}
	life := r.Duration
	if life == 0 {
		life = min(time.Hour, limit)
	}
	if life > limit {
		what := "the MaxSessionDuration set for this role"
		if s.Chained {
			what = "the 1 hour session limit for roles assumed by role chaining"
		}
		return Credentials{}, nil, fail(ValidationError, "The requested DurationSeconds exceeds %s.", what)
	}
	if r.Policy != "" {
		s.Policies = []string{r.Policy}
	}
	for _, p := range r.PolicyARNs {
		if _, err := id.Policy(ctx, role.Account, p); err != nil {
			return Credentials{}, nil, err
		}
	}
	c, err := id.issue(ctx, s, life)
	if err == nil {
		id.assumed(ctx, role)
	}
	return c, s, err
}

// assumed notes the role's last use. It tells people something and decides
// nothing, so that its failure stops nobody.
func (id *Identity) assumed(ctx context.Context, role *Entity) {
	_ = id.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error { return touchEntity(tx, role, id.now()) })
}

// SessionToken makes temporary credentials of a user or root for themselves (STS
// GetSessionToken): AccessDenied for those who are a session already.
func (id *Identity) SessionToken(ctx context.Context, p arn.Principal, life time.Duration) (Credentials, error) {
	if temporary(p.AccessKeyID) {
		return Credentials{}, fail(AccessDenied, "Cannot call GetSessionToken with session credentials")
	}
	limit := 36 * time.Hour
	if p.Kind == arn.KindRoot {
		limit = time.Hour
	}
	switch {
	case life == 0:
		life = min(12*time.Hour, limit)
	case life < minSession || life > 36*time.Hour:
		return Credentials{}, fail(ValidationError, "1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 129600",
			int(life/time.Second))
	}
	return id.issue(ctx, &Session{Principal: p, EntityID: p.ID}, min(life, limit))
}
