package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/sqldb"
)

// Explanation tells how a call was, or would be, decided.
type Explanation struct {
	RequestID string    `json:"requestId,omitempty"`
	Time      time.Time `json:"time"`
	// Now says that the policies read are those of now and not of the call's time.
	Now       bool     `json:"now"`
	Principal string   `json:"principal"`
	Allowed   bool     `json:"allowed"`
	Answers   []Answer `json:"answers"`
	// Missing is the first action that is not allowed, "" when all are.
	Missing string `json:"missing,omitempty"`
	// Suggestion is the smallest statement that would allow what is missing, a list
	// where one is not enough, and Where the policy that it belongs into; empty where
	// a Deny has to be changed.
	Suggestion string `json:"suggestion,omitempty"`
	Where      string `json:"where,omitempty"`
	SourceIP   string `json:"sourceIp,omitempty"`
	UserAgent  string `json:"userAgent,omitempty"`
}

// Answer is the decision on one action and resource.
type Answer struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Allowed  bool   `json:"allowed"`
	// Reason is the clause of the denial, or what allowed.
	Reason string `json:"reason"`
	// Policy, Statement and Text are what decided, where a statement did.
	Policy    string `json:"policy,omitempty"`
	Statement int    `json:"statement,omitempty"`
	Text      string `json:"text,omitempty"`
	// Read are all policies that had a say.
	Read []Reading `json:"read"`
}

// Reading is what one statement said.
type Reading struct {
	Layer     string `json:"layer"`
	Policy    string `json:"policy"`
	Statement int    `json:"statement"`
	Sid       string `json:"sid,omitempty"`
	Effect    string `json:"effect"`
	Applies   bool   `json:"applies"`
	// Because names the first element that did not match.
	Because string `json:"because,omitempty"`
}

// Explain decides actions on a call's resources and tells how. It acts on nothing.
func (id *Identity) Explain(ctx context.Context, c gate.Call, actions []string) (*Explanation, error) {
	caller := gate.CallerFrom(ctx)
	x := &Explanation{RequestID: caller.RequestID, Time: id.now().UTC().Truncate(time.Second), Principal: c.Principal.ARN, Allowed: true,
		SourceIP: caller.SourceIP, UserAgent: caller.UserAgent}
	var wanted []suggestion
	for _, action := range actions {
		resources := c.Resources
		if anywhere(action) {
			resources = []string{arn.Any}
		}
		for _, r := range resources {
			q, err := id.question(ctx, c, action, r)
			if err != nil {
				return nil, err
			}
			d := q.decide()
			x.Answers = append(x.Answers, q.answer(d))
			if d.Allowed {
				continue
			}
			if x.Missing == "" {
				x.Allowed, x.Missing = false, c.Service+":"+action
			}
			wanted = append(wanted, q.suggest(c, d))
		}
	}
	if len(wanted) > 0 {
		x.Suggestion, x.Where = merge(wanted)
	}
	return x, nil
}

// suggestion is a statement to add to a policy; nil where a Deny has to go.
type suggestion struct {
	statement map[string]any
	action    string
	where     string
}

// merge joins the suggestions for the policy of the first of them: statements that
// differ in their action alone become one.
func merge(list []suggestion) (text, where string) {
	where = list[0].where
	type group struct {
		statement map[string]any
		actions   []string
	}
	var groups []*group
	byRest := map[string]*group{}
	for _, s := range list {
		if s.where != where || s.statement == nil {
			continue
		}
		rest, err := json.Marshal(s.statement)
		if err != nil {
			return "", where
		}
		g := byRest[string(rest)]
		if g == nil {
			g = &group{statement: s.statement}
			byRest[string(rest)] = g
			groups = append(groups, g)
		}
		if !slices.Contains(g.actions, s.action) {
			g.actions = append(g.actions, s.action)
		}
	}
	var statements []map[string]any
	for _, g := range groups {
		if g.statement["Action"] = g.actions; len(g.actions) == 1 {
			g.statement["Action"] = g.actions[0]
		}
		statements = append(statements, g.statement)
	}
	var out any = statements
	switch len(statements) {
	case 0:
		return "", where
	case 1:
		out = statements[0]
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "", where
	}
	return string(b), where
}

// anywhere says that an action has no resource.
func anywhere(action string) bool { return action == "GetAuthorizationToken" }

func (q *question) answer(d policy.Decision) Answer {
	a := Answer{Action: q.request.Action, Resource: q.request.Resource, Allowed: d.Allowed, Reason: d.Reason(q.request.Action), Read: []Reading{},
		Policy: d.Policy, Statement: d.Statement}
	if d.Allowed {
		a.Reason = "allowed by a " + string(d.Layer)
		if d.Layer == policy.LayerIdentity {
			a.Reason = "allowed by an " + string(d.Layer)
		}
		if d.Policy == "" {
			a.Reason = "allowed to the root of the account"
		}
	}
	if q.standing != nil && q.standing.gone {
		a.Reason += " (the principal does not exist any more)"
		return a
	}
	for _, l := range []struct {
		layer policy.Layer
		list  []policy.Attached
	}{{policy.LayerIdentity, q.set.Identity}, {policy.LayerBoundary, q.set.Boundary}, {policy.LayerSession, q.set.Session}, {policy.LayerResource, q.set.Resource}} {
		if l.layer == policy.LayerResource && !q.set.SameAccount { // another account's words are not ours to show
			continue
		}
		for _, p := range l.list {
			for i := range p.Doc.Statements {
				s := &p.Doc.Statements[i]
				element, detail := s.Examine(&q.request)
				r := Reading{Layer: string(l.layer), Policy: p.Name, Statement: i + 1, Sid: s.Sid, Effect: s.Effect.String(), Applies: element == policy.Applies}
				if !r.Applies {
					r.Because = strings.TrimSpace(string(element) + " " + detail)
				}
				a.Read = append(a.Read, r)
				if p.Name == d.Policy && i+1 == d.Statement {
					a.Text = s.Text
				}
			}
		}
	}
	return a
}

// suggest makes the smallest statement that would allow what was denied.
func (q *question) suggest(c gate.Call, d policy.Decision) suggestion {
	if d.Explicit {
		return suggestion{where: "a Deny wins over every Allow: change statement " + strconv.Itoa(d.Statement) + " of " + d.Policy}
	}
	s, where := map[string]any{"Effect": "Allow"}, ""
	switch d.Layer {
	case policy.LayerResource:
		s["Principal"] = map[string]string{"AWS": q.principalName(c)}
		where = "the policy of " + q.request.Resource
		if c.Principal.Kind == arn.KindWebIdentity {
			s["Principal"] = map[string]string{"Federated": c.Principal.ARN}
			issuer := c.Principal.ARN[strings.Index(c.Principal.ARN, "oidc-provider/")+len("oidc-provider/"):]
			s["Condition"] = map[string]any{"StringEquals": map[string]any{issuer + ":aud": c.Keys[strings.ToLower(issuer)+":aud"], issuer + ":sub": c.Keys[strings.ToLower(issuer)+":sub"]}}
		}
		if q.set.ResourceMust {
			where = "the trust policy of " + q.request.Resource
		}
	default:
		s["Resource"] = q.request.Resource
		where = "a policy attached to " + q.principalName(c)
		if d.Layer != policy.LayerIdentity {
			where = "the " + string(d.Layer) + " of " + q.principalName(c)
		}
	}
	return suggestion{s, q.request.Action, where}
}

func (q *question) principalName(c gate.Call) string {
	if q.standing != nil {
		return q.standing.path
	}
	return c.Principal.ARN
}

// WouldAllow decides a call as if the resource had other policies.
func (id *Identity) WouldAllow(ctx context.Context, c gate.Call, action, resource string, guard []policy.Attached) (bool, error) {
	q, err := id.question(ctx, c, action, resource)
	if err != nil {
		return false, err
	}
	q.set.Resource = guard
	return q.decide().Allowed, nil
}

// RecordDenial keeps the explanation of a denied call under its request id, in the
// caller's account.
func (id *Identity) RecordDenial(ctx context.Context, c gate.Call, denied *gate.Denied) error {
	requestID := gate.CallerFrom(ctx).RequestID
	_, action, _ := strings.Cut(denied.Action, ":")
	c.Resources = []string{denied.Resource}
	x, err := id.Explain(ctx, c, []string{action})
	if err != nil {
		return err
	}
	body, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return storage(id.db.Write(ctx, func(tx *sqldb.Tx) error {
		if requestID == "" {
			return nil
		}
		return insertDenial(tx, c.Principal.Account, requestID, id.now(), string(body))
	}))
}

// Past explains a denied call of the past to somebody of the account that made it,
// by the policies of its time: NoSuchEntity.
func (id *Identity) Past(ctx context.Context, a arn.Account, requestID string) (*Explanation, error) {
	body, err := id.readDenial(ctx, a, requestID)
	if sqldb.IsNoRows(err) {
		return nil, fail(NoSuchEntity, "No call with the request id %.100s is known in account %s. Calls are kept for 90 days.", requestID, a)
	}
	if err != nil {
		return nil, storage(err)
	}
	x := &Explanation{}
	return x, json.Unmarshal([]byte(body), x)
}

// Denials are the last denied calls of an account's principals, the newest first.
func (id *Identity) Denials(ctx context.Context, a arn.Account, limit int) ([]*Explanation, error) {
	list, err := id.listDenials(ctx, a, limit)
	if err != nil {
		return nil, storage(err)
	}
	out := []*Explanation{}
	for _, body := range list {
		x := &Explanation{}
		if err := json.Unmarshal([]byte(body), x); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// MessageOf makes the encoded authorisation message of a denied call: what
// DecodeMessage opens. It names the call and holds nothing of it.
func (id *Identity) MessageOf(a arn.Account, requestID string) string {
	return base64.RawURLEncoding.EncodeToString(id.notes.Seal([]byte(string(a)+" "+requestID), ""))
}

// DecodeMessage explains the call that an encoded authorisation message names:
// InvalidMessage.
func (id *Identity) DecodeMessage(ctx context.Context, a arn.Account, message string) (*Explanation, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(message)
	if err == nil {
		b, err = id.notes.Open(b, "")
	}
	account, requestID, ok := strings.Cut(string(b), " ")
	if err != nil || !ok || account != string(a) {
		return nil, fail(InvalidMessage, "Message is not valid")
	}
	x, err := id.Past(ctx, a, requestID)
	if CodeOf(err) == NoSuchEntity {
		return nil, fail(InvalidMessage, "Message is not valid: what it is about is not kept any more")
	}
	return x, err
}

// PrincipalOf is the principal that an ARN of an account stands for, a role being
// a session of it: NoSuchEntity, ValidationError. It is for questions and carries
// no credentials.
func (id *Identity) PrincipalOf(ctx context.Context, a arn.Account, principalARN string) (arn.Principal, error) {
	p, err := arn.Parse(principalARN)
	kind, rest, _ := strings.Cut(p.Resource, "/")
	switch {
	case err != nil || p.Service != "iam":
		return arn.Principal{}, fail(ValidationError, "%.200q is not the ARN of a user, role or root", principalARN)
	case p.Account != a:
		return arn.Principal{}, fail(NoSuchEntity, "%s is not of account %s.", principalARN, a)
	case p.Resource == "root":
		return arn.Root(a), nil
	case kind != string(User) && kind != string(Role):
		return arn.Principal{}, fail(ValidationError, "%.200q is not the ARN of a user, role or root", principalARN)
	}
	e, err := id.Entity(ctx, a, EntityKind(kind), rest[strings.LastIndexByte(rest, '/')+1:])
	if err != nil {
		return arn.Principal{}, err
	}
	if e.Kind == User {
		return userPrincipal(e), nil
	}
	return arn.Principal{Kind: arn.KindAssumedRole, Account: a, ID: e.ID + ":explain",
		ARN: arn.ARN{Service: "sts", Account: a, Resource: "assumed-role/" + e.Name + "/explain"}.String()}, nil
}
