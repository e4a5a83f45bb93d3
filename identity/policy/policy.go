// Package policy is IAM's policy language: it reads policy documents, refuses
// what IAM refuses, and decides requests.
//
// It is pure: documents and a request in, a decision with its reason out. It does
// not store policies, find out which ones apply to whom, or know any service's
// actions (IAM User Guide, "IAM JSON policy reference", "Policy evaluation
// logic").
package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-registry/berth/arn"
)

// Kind says where a policy is attached, which decides the elements it may have.
type Kind int

// The kinds of policy.
const (
	// Identity is a policy of a user, group or role, a boundary or a session:
	// Resource is required and Principal refused.
	Identity Kind = iota
	// Repository is the policy of one repository: Principal is required, the
	// resource is the repository, and Resource is refused.
	Repository
	// Registry is the policy of a registry: Principal and Resource are required.
	Registry
	// Trust is the policy that says who may assume a role: as Repository.
	Trust
)

// MaxText bounds every policy text, in bytes. Stricter limits are the callers'.
const MaxText = 20_480

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("malformed policy")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Effect is what a statement that applies does.
type Effect bool

// The effects.
const (
	Deny  Effect = false
	Allow Effect = true
)

func (e Effect) String() string {
	if e == Allow {
		return "Allow"
	}
	return "Deny"
}

// Document is a policy, ready to evaluate. It is safe for concurrent use.
type Document struct {
	// Version is 2008-10-17 or 2012-10-17; only the latter has variables.
	Version    string
	ID         string
	Statements []Statement
	text       string
	bindings   []binding
}

// Text is the document as it was written.
func (d *Document) Text() string { return d.text }

// Statement is one statement of a policy.
type Statement struct {
	Sid    string
	Effect Effect
	// Text is the statement as it was written.
	Text string

	principals   *principals // nil in identity policies
	notPrincipal bool
	actions      []glob // in lower case
	notAction    bool
	resources    []arnPattern // nil where a policy has no Resource element
	notResource  bool
	conditions   []condition
}

// Caller is who asks, as policies name principals.
type Caller struct {
	Account arn.Account
	// ARN is the caller's own: of the root, a user or a role session.
	ARN string
	// Role is the ARN of the role that a session is of.
	Role string
	// ID is the unique id of the user or of the session's role.
	ID string
	// Federated is the identity provider of a caller that is not in IAM yet.
	Federated string
	// Service is the host name of a service that calls for itself.
	Service string
}

// Request is what a policy is asked.
type Request struct {
	Caller   Caller
	Action   string // such as ecr:PutImage
	Resource string // an ARN, or "*" for actions without a resource
	// Values returns a condition key's values, by the key in lower case. nil says
	// that the request does not have the key; an empty list that it has it, empty.
	Values func(key string) []string

	action string   // in lower case, once asked
	parts  []string // of the resource, once asked
}

// split returns the parts of an ARN, those of the request's resource kept.
func (r *Request) split(s string) []string {
	if s != r.Resource {
		return strings.SplitN(s, ":", 6)
	}
	if r.parts == nil {
		r.parts = strings.SplitN(s, ":", 6)
	}
	return r.parts
}

func (r *Request) values(key string) []string {
	if r.Values == nil {
		return nil
	}
	return r.Values(key)
}

// Element names the part of a statement that a request did not meet.
type Element string

// The elements, in the order they are looked at.
const (
	Applies     Element = ""
	NotCaller   Element = "Principal"
	NotAction   Element = "Action"
	NotResource Element = "Resource"
	NotMet      Element = "Condition"
)

// Examine says whether the statement applies to a request, else the first of its
// elements that does not match, and for a condition which.
func (s *Statement) Examine(r *Request) (Element, string) {
	_, e, detail := s.examine(r)
	return e, detail
}

func (s *Statement) examine(r *Request) (match, Element, string) {
	m := everyone
	if s.principals != nil {
		if m = s.principals.match(&r.Caller); s.notPrincipal {
			m = negate(m)
		}
		if m == noMatch {
			return noMatch, NotCaller, ""
		}
	}
	if r.action == "" {
		r.action = lower(r.Action)
	}
	if matchAny(s.actions, r.action) == s.notAction {
		return noMatch, NotAction, ""
	}
	if s.resources != nil && !s.resourceMatches(r) {
		return noMatch, NotResource, ""
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if !c.holds(r, s.Effect) {
			return noMatch, NotMet, c.name + " " + c.key
		}
	}
	return m, Applies, ""
}

// resourceMatches: a variable without a value matches nothing. So that it never
// widens what is allowed, an Allow by NotResource then does not apply.
func (s *Statement) resourceMatches(r *Request) bool {
	unresolved := false
	for i := range s.resources {
		ok, resolved := s.resources[i].match(r.Resource, r)
		if ok {
			return !s.notResource
		}
		unresolved = unresolved || !resolved
	}
	return s.notResource && (!unresolved || s.Effect == Deny)
}
