// Package gate is the one door through which every front end acts: it decides
// whether the caller may, lets the core act, and has the call recorded.
//
// It owns the small interfaces it needs and imports no core: identity satisfies
// Authorizer, trail will satisfy Recorder, and server joins them. It does not
// authenticate (the front end knows how its protocol carries credentials) and
// does not decide (Authorizer does).
package gate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/identity/policy"
	"github.com/berth-registry/berth/secret"
)

// Call describes one API call, whichever protocol carried it.
type Call struct {
	// Principal is who calls.
	Principal arn.Principal
	// Service and Action are IAM's words, such as ecr and PutImage.
	Service, Action string
	// Operation is the API's name of the call, where it is not the action's.
	Operation string
	// Place is the account and region the call is about.
	Place arn.Place
	// Resources are the ARNs acted on, each of which must be allowed; "*" for
	// calls that act on no particular one.
	Resources []string
	// ReadOnly says that the call changes nothing.
	ReadOnly bool
	// Keys are condition keys of this call beside the global ones, in lower case:
	// aws:requesttag/…, aws:tagkeys and the service's own.
	Keys map[string][]string
	// Params are the parameters for the record, where the protocol has no document
	// of them (see Exchange).
	Params map[string]any
}

// Name is what the record calls the call.
func (c *Call) Name() string {
	if c.Operation != "" {
		return c.Operation
	}
	return c.Action
}

// Decision is an authoriser's answer to one action on one resource.
type Decision struct {
	Allowed bool
	// Reason says which kind of policy decided: the clause that ends AWS's text.
	Reason string
}

// Authorizer decides. Deny is its default.
type Authorizer interface {
	Authorize(ctx context.Context, c Call, action, resource string) (Decision, error)
}

// Guard is what stands before a resource: its policies and its tags.
type Guard struct {
	Policies []policy.Attached
	Tags     map[string]string
}

// PolicySource knows the guards of the resources of a service. One that does not
// exist has an empty guard, or that of what it would belong to.
type PolicySource interface {
	Guard(ctx context.Context, resource arn.ARN, action string) (Guard, error)
}

// Recorder keeps what happened. Record is called after the call, with its error,
// if any, and the context that Prepare returned. A mutation's record is meant to be
// written in the change's own transaction: Prepare's context carries it there.
type Recorder interface {
	Prepare(ctx context.Context, c Call) context.Context
	Record(ctx context.Context, c Call, took time.Duration, err error)
}

// Denied is a call that the caller may not make. Its text is the one AWS's tools
// print.
type Denied struct {
	Principal, Action, Resource, Reason string
}

func (d *Denied) Error() string {
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", d.Principal, d.Action, d.Resource, d.Reason)
}

var (
	// ErrNobody is a call without a principal.
	ErrNobody = errors.New("the call was not authenticated")
	// ErrUnrecorded marks the error of a call that is not worth a record, such as one
	// that lost a race to its own twin.
	ErrUnrecorded = errors.New("not recorded")
)

// Gate authorises and records.
type Gate struct {
	authorizer Authorizer
	recorder   Recorder
}

// New joins the two.
func New(a Authorizer, r Recorder) *Gate { return &Gate{a, r} }

// Do authorises the call on all its resources, runs act and records the outcome.
// It returns *Denied or act's own error.
func (g *Gate) Do(ctx context.Context, c Call, act func(context.Context) error) error {
	start := time.Now()
	err := g.Check(ctx, c, c.Action)
	if err == nil {
		if !c.ReadOnly {
			ctx = g.recorder.Prepare(ctx, c)
		}
		err = act(ctx)
	}
	var denied *Denied
	if c.ReadOnly && optional(ctx) && errors.As(err, &denied) {
		if x := ExchangeFrom(ctx); x != nil {
			x.Recorded()
		}
		return err
	}
	if !errors.Is(err, ErrNobody) && !errors.Is(err, ErrUnrecorded) { // no record before a principal is known
		g.recorder.Record(ctx, c, time.Since(start), err)
	}
	return err
}

type optionalKey struct{}

// WithOptional marks calls that their caller did not ask for, such as those of a page that
// shows more to who may see more: where such a call only reads and is denied, that is no
// attempt of anybody, and leaves no record.
func WithOptional(ctx context.Context) context.Context {
	return context.WithValue(ctx, optionalKey{}, true)
}

func optional(ctx context.Context) bool { return ctx.Value(optionalKey{}) != nil }

// Further is Do for another action of the same request on the same resources: a
// push that creates its repository, say. Without act it only asks.
func (g *Gate) Further(ctx context.Context, c Call, action string, act func(context.Context) error) error {
	if act == nil {
		return g.Check(ctx, c, action)
	}
	c.Action, c.Operation, c.ReadOnly = action, "", false
	x := &Exchange{} // it has no document of its own
	defer x.Done(nil)
	return g.Do(WithExchange(ctx, x), c, act)
}

// Check only asks whether the call's principal may perform a further action on
// the call's resources, such as creating the repository that a push misses.
func (g *Gate) Check(ctx context.Context, c Call, action string) error {
	if c.Principal.IsZero() {
		return ErrNobody
	}
	for _, r := range c.Resources {
		d, err := g.authorizer.Authorize(ctx, c, action, r)
		if err != nil {
			return fmt.Errorf("authorise %s: %w", action, err)
		}
		if !d.Allowed {
			return &Denied{Principal: c.Principal.ARN, Action: c.Service + ":" + action, Resource: r, Reason: d.Reason}
		}
	}
	return nil
}

type callerKey struct{}

// Caller is what the front end's authentication found out about a request.
type Caller struct {
	Principal arn.Principal
	// Region is the one the request is for.
	Region arn.Region
	// Host is the listener's address as the client wrote it, and Secure whether
	// it came over TLS: what replies that hold addresses are made of.
	Host      string
	Secure    bool
	RequestID string
	SourceIP  string
	UserAgent string
	// Session is the session token that came with temporary keys, "" for others.
	Session secret.String
}

// Place is the account and region that a request is for unless it names others: the
// caller's own.
func (c Caller) Place() arn.Place { return arn.Place{Account: c.Principal.Account, Region: c.Region} }

// TagKeys adds the condition keys of the tags that a request brings, and of the names of
// those that it removes, to keys, which may be nil.
func TagKeys(keys map[string][]string, tags map[string]string, names ...string) map[string][]string {
	if keys == nil {
		keys = map[string][]string{}
	}
	if len(tags)+len(names) == 0 {
		return keys
	}
	for k, v := range tags {
		keys["aws:requesttag/"+strings.ToLower(k)] = []string{v}
	}
	keys["aws:tagkeys"] = slices.Sorted(maps.Keys(tags))
	keys["aws:tagkeys"] = append(keys["aws:tagkeys"], names...)
	return keys
}

// WithCaller puts the caller into the context for the cores' front ends.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller, or the zero value of nobody.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
