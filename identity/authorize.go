package identity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// standing is what a principal brings to every request: who it is to policies,
// and the policies that are its own.
type standing struct {
	caller  policy.Caller
	set     policy.Set
	tags    map[string][]string // keys in lower case
	name    string              // of a user
	path    string              // ARN of the user or role
	session *Session
	gone    bool
}

type standingKey struct{ id, session string }

// standing loads a principal's standing; it may be stale by staleFor.
func (id *Identity) standing(ctx context.Context, p arn.Principal) (*standing, error) {
	key := standingKey{id: p.ID}
	if temporary(p.AccessKeyID) {
		key.session = p.AccessKeyID
	}
	return id.standings.Get(key, func() (*standing, error) { return id.loadStanding(ctx, p) })
}

// About is what a record of a call tells of the role's session that made it.
type About struct {
	Role     string // ARN
	RoleID   string
	Since    time.Time
	Provider string // ARN of the identity provider, "" for none
}

// About describes a role's session. What is not known any more is left empty.
func (id *Identity) About(ctx context.Context, p arn.Principal) About {
	a := About{}
	a.RoleID, _, _ = strings.Cut(p.ID, ":")
	s, err := id.standing(ctx, p)
	if err != nil {
		return a
	}
	if s.caller.Role != "" {
		a.Role = s.caller.Role
	}
	if s.session != nil {
		a.Since, a.Provider = s.session.IssuedAt, s.session.Provider
	}
	return a
}

func (id *Identity) loadStanding(ctx context.Context, p arn.Principal) (*standing, error) {
	s := &standing{caller: policy.Caller{Account: p.Account, ARN: p.ARN, ID: p.ID}, path: p.ARN}
	open, err := id.accountOpen(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	s.gone = !open
	if temporary(p.AccessKeyID) {
		if s.session, err = id.session(ctx, p.AccessKeyID); err != nil {
			return nil, err
		}
	}
	if p.Kind == arn.KindRoot {
		s.set.Full = true
		return s, nil
	}
	entityID, sessionTags := p.ID, map[string]string(nil)
	if p.Kind == arn.KindAssumedRole {
		entityID, _, _ = strings.Cut(p.ID, ":")
	}
	if s.session != nil {
		sessionTags = s.session.Tags
	}
	e, err := id.readEntityByID(ctx, p.Account, entityID)
	if sqldb.IsNoRows(err) {
		s.gone = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.caller.ID, s.path = e.ID, e.ARN()
	if e.Kind == Role {
		s.caller.Role = e.ARN()
	} else {
		s.name, s.caller.ARN = e.Name, e.ARN()
	}
	s.tags = lowerKeys(e.Tags)
	maps.Copy(s.tags, lowerKeys(sessionTags)) // a session's tags win over the role's
	return s, id.loadPolicies(ctx, e, s)
}

func lowerKeys(tags map[string]string) map[string][]string {
	out := map[string][]string{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		low := strings.ToLower(k)
		out[low] = append(out[low], tags[k])
	}
	return out
}

// loadPolicies reads what an entity, its groups, its boundary and its session say.
// A stored policy that does not parse is an error: it is never skipped.
func (id *Identity) loadPolicies(ctx context.Context, e *Entity, s *standing) error {
	owners := []*Entity{e}
	if e.Kind == User {
		groups, err := id.groupsOf(ctx, e.Account, e.ID)
		if err != nil {
			return err
		}
		owners = append(owners, groups...)
	}
	for _, o := range owners {
		list, err := id.policiesOf(ctx, o)
		if err != nil {
			return err
		}
		s.set.Identity = append(s.set.Identity, list...)
	}
	var err error
	if s.set.HasBoundary = e.Boundary != ""; s.set.HasBoundary {
		if s.set.Boundary, err = id.managed(ctx, e.Account, e.Boundary); err != nil {
			return err
		}
	}
	if s.session == nil || len(s.session.Policies)+len(s.session.PolicyARNs) == 0 {
		return nil
	}
	s.set.HasSession = true
	for _, text := range s.session.Policies {
		d, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return err
		}
		s.set.Session = append(s.set.Session, policy.Attached{Name: "session policy", Doc: d})
	}
	for _, p := range s.session.PolicyARNs {
		list, err := id.managed(ctx, e.Account, p)
		if err != nil {
			return err
		}
		s.set.Session = append(s.set.Session, list...)
	}
	return nil
}

func (id *Identity) policiesOf(ctx context.Context, e *Entity) ([]policy.Attached, error) {
	inline, err := id.listInline(ctx, e.Account, e.ID)
	if err != nil {
		return nil, err
	}
	var out []policy.Attached
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		d, err := policy.Parse(inline[name], policy.Identity)
		if err != nil {
			return nil, fmt.Errorf("policy %s of %s: %w", name, e.ARN(), err)
		}
		out = append(out, policy.Attached{Name: "inline policy " + name + " of " + e.ARN(), Doc: d})
	}
	arns, err := id.listAttached(ctx, e.Account, e.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range arns {
		list, err := id.managed(ctx, e.Account, a)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// managed reads the default version of a managed policy; none when it is gone.
func (id *Identity) managed(ctx context.Context, a arn.Account, policyARN string) ([]policy.Attached, error) {
	text, err := id.readDefault(ctx, a, policyARN)
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := policy.Parse(text, policy.Identity)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", policyARN, err)
	}
	return []policy.Attached{{Name: policyARN, Doc: d}}, nil
}

// question is one action on one resource, with all that has a say in it.
type question struct {
	request  policy.Request
	set      policy.Set
	standing *standing
	guard    gate.Guard
	target   arn.Account
}

var _ gate.Authorizer = (*Identity)(nil)

// Authorize implements gate.Authorizer.
func (id *Identity) Authorize(ctx context.Context, c gate.Call, action, resource string) (gate.Decision, error) {
	q, err := id.question(ctx, c, action, resource)
	if err != nil {
		return gate.Decision{}, err
	}
	d := q.decide()
	return gate.Decision{Allowed: d.Allowed, Reason: d.Reason(c.Service + ":" + action)}, nil
}

func (q *question) decide() policy.Decision {
	if q.standing != nil && q.standing.gone {
		return policy.Decision{Layer: policy.LayerIdentity}
	}
	return policy.Decide(&q.request, &q.set)
}

// mends are the actions by which the root of an account repairs a repository
// policy that locked everybody out; that policy has no say in them.
var mends = []string{"GetRepositoryPolicy", "SetRepositoryPolicy", "DeleteRepositoryPolicy"}

func (id *Identity) question(ctx context.Context, c gate.Call, action, resource string) (*question, error) {
	q := &question{target: c.Place.Account}
	parsed := arn.ARN{}
	if resource != arn.Any && !strings.HasPrefix(resource, awsPolicyPrefix) {
		var err error
		if parsed, err = arn.Parse(resource); err != nil {
			return nil, err
		}
		q.target = parsed.Account
	}
	if c.Principal.Kind == arn.KindWebIdentity {
		q.request.Caller = policy.Caller{Federated: c.Principal.ARN}
		open, err := id.accountOpen(ctx, c.Principal.Account)
		if err != nil {
			return nil, err
		}
		if !open {
			q.standing = &standing{gone: true}
		}
	} else {
		var err error
		if q.standing, err = id.standing(ctx, c.Principal); errors.Is(err, ErrUnknownKey) {
			q.standing = &standing{gone: true}
		} else if err != nil {
			return nil, err
		}
		q.set, q.request.Caller = q.standing.set, q.standing.caller
	}
	q.set.SameAccount = q.target == c.Principal.Account
	q.request.Action, q.request.Resource = c.Service+":"+action, resource
	if err := id.readGuard(ctx, q, c, parsed, action); err != nil {
		return nil, err
	}
	q.set.Resource = q.guard.Policies
	q.request.Values = q.values(id.now(), c, gate.CallerFrom(ctx))
	return q, nil
}

// readGuard finds the policies of the resource: of a role its trust policy, which
// alone lets anybody in; of others what their plane knows.
func (id *Identity) readGuard(ctx context.Context, q *question, c gate.Call, resource arn.ARN, action string) error {
	if resource.Service == "" {
		return nil
	}
	if !q.set.SameAccount { // a closed account lets nobody in
		if open, err := id.accountOpen(ctx, q.target); err != nil || !open {
			return err
		}
	}
	if c.Service == "sts" && resource.Service == "iam" {
		q.set.ResourceMust = true
		role, err := id.Role(ctx, resource.String())
		if err != nil || role == nil {
			return err
		}
		d, err := policy.Parse(role.Trust, policy.Trust)
		if err != nil {
			return fmt.Errorf("trust policy of %s: %w", resource, err)
		}
		q.guard = gate.Guard{Policies: []policy.Attached{{Name: "trust policy of " + resource.String(), Doc: d}}, Tags: role.Tags}
		return nil
	}
	if id.guards == nil || resource.Service != "ecr" && resource.Service != "lambda" {
		return nil
	}
	if q.set.Full && q.set.SameAccount && q.standing.session == nil && slices.Contains(mends, action) {
		return nil
	}
	var err error
	q.guard, err = id.guards.Guard(ctx, resource, action)
	return err
}

// values answers condition keys. They are made when a policy asks.
func (q *question) values(now time.Time, c gate.Call, caller gate.Caller) func(string) []string {
	return func(key string) []string {
		if v, ok := c.Keys[key]; ok {
			return v
		}
		prefix, tag, tagged := strings.Cut(key, "/")
		if tagged {
			switch prefix {
			case "aws:principaltag":
				if q.standing != nil {
					return q.standing.tags[tag]
				}
			case "aws:resourcetag", c.Service + ":resourcetag":
				return lowerKeys(q.guard.Tags)[tag]
			}
			return nil
		}
		return one(q.global(key, now, c, caller))
	}
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// global is the value of a global condition key, "" for absent.
func (q *question) global(key string, now time.Time, c gate.Call, caller gate.Caller) string {
	switch key {
	case "aws:currenttime":
		return now.UTC().Format(time.RFC3339)
	case "aws:epochtime":
		return strconv.FormatInt(now.Unix(), 10)
	case "aws:sourceip":
		return caller.SourceIP
	case "aws:useragent":
		return caller.UserAgent
	case "aws:securetransport":
		return strconv.FormatBool(caller.Secure)
	case "aws:requestedregion":
		return string(c.Place.Region)
	case "aws:viaawsservice":
		return "false"
	case "aws:resourceaccount":
		return string(q.target)
	case "aws:principalaccount":
		return string(c.Principal.Account)
	}
	if q.standing == nil {
		return ""
	}
	switch key {
	case "aws:principalarn":
		return q.standing.path
	case "aws:principaltype":
		return map[arn.Kind]string{arn.KindRoot: "Account", arn.KindUser: "User", arn.KindAssumedRole: "AssumedRole"}[c.Principal.Kind]
	case "aws:userid":
		return c.Principal.ID
	case "aws:username":
		return q.standing.name
	}
	s := q.standing.session
	if s == nil {
		return ""
	}
	switch key {
	case "aws:tokenissuetime":
		return s.IssuedAt.Format(time.RFC3339)
	case "aws:multifactorauthpresent":
		return "false"
	case "aws:federatedprovider":
		return s.Provider
	case "aws:sourceidentity":
		return s.SourceIdentity
	}
	return ""
}
