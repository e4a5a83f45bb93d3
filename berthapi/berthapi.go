// Package berthapi is Berth's own API: what AWS has no operation for. It explains
// decisions, keeps accounts, remembers which file declares what, and tells where images
// came from.
//
// It speaks awsJson 1.1 and is signed as the service "berth", so that every AWS SDK
// can sign for it; the commands of the binary are its clients. It passes gate like
// every front end: actions are berth:Explain and so on, accounts have the ARN
// arn:aws:berth::HOME:account/ID.
package berthapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/ledger"
	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/trail"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "berth"

// Target is the prefix of X-Amz-Target.
const Target = "Berth_20261101"

// Options is the last argument that awsproto expects of an operation.
type Options struct{}

type options = func(*Options)

// Service serves the API.
type Service struct {
	identity *identity.Identity
	registry *registry.Registry
	trail    *trail.Trail
	history  History
	ledger   *ledger.Ledger
	tokens   CatalogTokens
	gate     *gate.Gate
	home     arn.Account
}

// New makes the front end. home is the account that keeps the others.
func New(id *identity.Identity, r *registry.Registry, t *trail.Trail, h History, l *ledger.Ledger, tokens CatalogTokens, g *gate.Gate, home arn.Account) *Service {
	return &Service{id, r, t, h, l, tokens, g, home}
}

// Handler serves the API.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON11, naming, s)
}

// naming is lowerCamel with ID and IP written as the AWS APIs write them.
func naming(_, field string) string {
	for from, to := range map[string]string{"ID": "Id", "IP": "Ip"} {
		if rest, ok := strings.CutSuffix(field, from); ok {
			field = rest + to
		}
	}
	return strings.ToLower(field[:1]) + field[1:]
}

// Operations lists the operations, for tests and documentation.
func Operations() []string {
	return []string{"AssumeAccount", "CloseAccount", "CreateAccount", "CreateAccountKey", "CreateConsoleLink", "DeleteDeclarations", "DescribeImageContents", "DescribeImageOrigin",
		"DescribeRepositoryOrigin", "DescribeUsage", "Explain", "FindImages", "FindRepositories", "GetCatalogToken", "ListAccounts", "ListActivity", "ListDeclarations", "ListDenials", "ListEvents",
		"PutDeclarations", "ReviewRoles"}
}

func (s *Service) do(ctx context.Context, service, op, resource string, readOnly bool, act func(context.Context) error) error {
	return s.doAll(ctx, service, op, []string{resource}, readOnly, act)
}

// doAll is do for a call on several resources, all of which have to be allowed.
func (s *Service) doAll(ctx context.Context, service, op string, resources []string, readOnly bool, act func(context.Context) error) error {
	caller := gate.CallerFrom(ctx)
	c := gate.Call{Principal: caller.Principal, Service: service, Action: op, Place: caller.Place(), Resources: resources, ReadOnly: readOnly}
	return exception(s.gate.Do(ctx, c, act))
}

func exception(err error) error {
	var (
		e      *identity.Error
		r      *registry.Error
		l      *ledger.Error
		denied *gate.Denied
	)
	switch {
	case errors.As(err, &denied):
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: denied.Error()}
	case errors.As(err, &e):
		return &smithy.GenericAPIError{Code: string(e.Code), Message: e.Message}
	case errors.As(err, &r):
		return &smithy.GenericAPIError{Code: string(r.Code), Message: r.Message}
	case errors.As(err, &l):
		return &smithy.GenericAPIError{Code: string(l.Code), Message: l.Message}
	}
	return err
}

func invalid(format string, args ...any) error {
	return &smithy.GenericAPIError{Code: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

// ExplainInput names a call of the past by its request id, or a call that is
// planned: who, what, on which resource.
type ExplainInput struct {
	RequestID *string
	// Principal is the ARN of a user, role or root of the caller's account.
	Principal *string
	// Actions are such as ecr:PutImage, or the words push and pull.
	Actions []string
	// Resource is an ARN, "*", or the name of a repository.
	Resource *string
	// Context gives further condition keys.
	Context map[string][]string
}

// ExplainOutput holds the explanation.
type ExplainOutput struct{ Explanation *identity.Explanation }

// ListDenialsInput asks for the last denied calls of the caller's account, at most
// 100, 20 unless said.
type ListDenialsInput struct{ MaxResults *int32 }

// ListDenialsOutput holds them, the newest first.
type ListDenialsOutput struct{ Denials []*identity.Explanation }

// ListDenials lists denied calls: for clients that do not show the request id.
func (s *Service) ListDenials(ctx context.Context, in *ListDenialsInput, _ ...options) (*ListDenialsOutput, error) {
	limit := 20
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > 100 {
			return nil, invalid("maxResults must be between 1 and 100")
		}
	}
	out := &ListDenialsOutput{}
	return out, s.do(ctx, SigningName, "Explain", arn.Any, true, func(ctx context.Context) error {
		var err error
		out.Denials, err = s.identity.Denials(ctx, gate.CallerFrom(ctx).Principal.Account, limit)
		return err
	})
}

// ReviewRolesInput asks for warnings about the account's roles.
type ReviewRolesInput struct{}

// ReviewRolesOutput holds them.
type ReviewRolesOutput struct{ Warnings []identity.Warning }

// ReviewRoles tells which roles trust more of an identity provider's tokens than
// they seem to.
func (s *Service) ReviewRoles(ctx context.Context, _ *ReviewRolesInput, _ ...options) (*ReviewRolesOutput, error) {
	out := &ReviewRolesOutput{}
	return out, s.do(ctx, SigningName, "ReviewRoles", arn.Any, true, func(ctx context.Context) error {
		var err error
		out.Warnings, err = s.identity.Review(ctx, gate.CallerFrom(ctx).Principal.Account)
		return err
	})
}

// sequences are the actions of what people do, in the order that clients ask.
var sequences = map[string][]string{
	"push": {"GetAuthorizationToken", "BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage", "BatchGetImage"},
	"pull": {"GetAuthorizationToken", "BatchGetImage", "GetDownloadUrlForLayer"},
}

// Explain tells how a call was, or would be, decided.
func (s *Service) Explain(ctx context.Context, in *ExplainInput, _ ...options) (*ExplainOutput, error) {
	caller := gate.CallerFrom(ctx)
	out := &ExplainOutput{}
	if in.RequestID != nil {
		return out, s.do(ctx, SigningName, "Explain", arn.Any, true, func(ctx context.Context) error {
			var err error
			out.Explanation, err = s.past(ctx, caller, *in.RequestID)
			return err
		})
	}
	if in.Principal == nil || len(in.Actions) == 0 || in.Resource == nil {
		return nil, invalid("give a request id, or a principal, actions and a resource")
	}
	if len(in.Actions) > 100 {
		return nil, invalid("at most 100 actions are explained at a time")
	}
	c := gate.Call{Place: caller.Place(), Service: "ecr", Keys: map[string][]string{}}
	for k, v := range in.Context {
		c.Keys[strings.ToLower(k)] = v
	}
	var actions []string
	for _, a := range in.Actions {
		if list, ok := sequences[a]; ok {
			actions = append(actions, list...)
			continue
		}
		service, action, ok := strings.Cut(a, ":")
		if !ok || len(actions) > 0 && service != c.Service {
			return nil, invalid("%.100q is not of the form service:Action, or of another service than the first", a)
		}
		c.Service = service
		actions = append(actions, action)
	}
	resource := *in.Resource
	if resource != arn.Any && !strings.HasPrefix(resource, "arn:") {
		resource = arn.Repository(c.Place, resource).String()
	}
	if _, err := arn.Parse(resource); err != nil && resource != arn.Any {
		return nil, invalid("the resource %.200q is neither \"*\", an ARN nor the name of a repository", resource)
	}
	c.Resources = []string{resource}
	return out, s.do(ctx, SigningName, "Explain", arn.Any, true, func(ctx context.Context) error {
		p, err := s.identity.PrincipalOf(ctx, caller.Principal.Account, *in.Principal)
		if err != nil {
			return err
		}
		c.Principal = p
		if actions, err = s.withCreation(ctx, actions, resource); err != nil {
			return err
		}
		out.Explanation, err = s.identity.Explain(ctx, c, actions)
		if err == nil {
			out.Explanation.RequestID, out.Explanation.Now = "", true
		}
		return err
	})
}

// past explains a call of the past: a denial by the policies of its time, an allowed
// call by those of now.
func (s *Service) past(ctx context.Context, caller gate.Caller, requestID string) (*identity.Explanation, error) {
	x, err := s.identity.Past(ctx, caller.Principal.Account, requestID)
	if identity.CodeOf(err) != identity.NoSuchEntity {
		return x, err
	}
	r, terr := s.trail.ByRequest(ctx, caller.Place(), requestID)
	if terr != nil {
		return nil, terr
	}
	if r == nil || r.Who.AccountID != string(caller.Principal.Account) || len(r.Targets) == 0 {
		return nil, err
	}
	service, action, _ := strings.Cut(r.Action, ":")
	c := gate.Call{Service: service, Action: action, Place: r.Home, Resources: r.Targets, ReadOnly: r.ReadOnly, Keys: r.Keys,
		Principal: arn.Principal{Kind: r.Who.Type, Account: caller.Principal.Account, ARN: r.Who.ARN, ID: r.Who.PrincipalID, AccessKeyID: r.Who.AccessKeyID}}
	then := gate.Caller{Principal: c.Principal, Region: r.Home.Region, RequestID: requestID, SourceIP: r.SourceIP, UserAgent: r.UserAgent}
	if x, err = s.identity.Explain(gate.WithCaller(ctx, then), c, []string{action}); err == nil {
		x.Now, x.Time = true, r.At.Truncate(time.Second)
	}
	return x, err
}

// withCreation adds the right to create a repository to a push into one that does
// not exist.
func (s *Service) withCreation(ctx context.Context, actions []string, resource string) ([]string, error) {
	a, err := arn.Parse(resource)
	name, ok := a.RepositoryName()
	i := slices.Index(actions, "InitiateLayerUpload")
	if err != nil || !ok || i < 0 || a.Account != gate.CallerFrom(ctx).Principal.Account {
		return actions, nil
	}
	_, err = s.registry.Repository(ctx, arn.Place{Account: a.Account, Region: a.Region}, name)
	if registry.CodeOf(err) == registry.RepositoryNotFound {
		return slices.Insert(actions, i, "CreateRepository"), nil
	}
	return actions, err
}

// DescribeImageOriginInput names an image by tag or digest.
type DescribeImageOriginInput struct {
	RepositoryName *string
	Reference      *string
}

// DescribeImageOriginOutput tells who pushed an image and, if a workload identity
// did, from where: repository, workflow, ref, run, actor.
type DescribeImageOriginOutput struct {
	RepositoryName *string
	ImageDigest    *string
	ImageTags      []string
	PushedAt       *time.Time
	PushedBy       *string
	Claims         map[string]string
}

// DescribeImageOrigin tells where an image came from. Who may describe images may
// ask.
func (s *Service) DescribeImageOrigin(ctx context.Context, in *DescribeImageOriginInput, _ ...options) (*DescribeImageOriginOutput, error) {
	caller := gate.CallerFrom(ctx)
	place := caller.Place()
	if in.RepositoryName == nil || !registry.ValidName(*in.RepositoryName) || in.Reference == nil {
		return nil, invalid("give the name of a repository, and a tag or digest")
	}
	ref, ok := registry.ParseReference(*in.Reference)
	if !ok {
		return nil, invalid("%.200q is neither a tag nor a digest", *in.Reference)
	}
	out := &DescribeImageOriginOutput{RepositoryName: in.RepositoryName}
	return out, s.do(ctx, "ecr", "DescribeImages", arn.Repository(place, *in.RepositoryName).String(), true, func(ctx context.Context) error {
		o, err := s.registry.Origin(ctx, place, *in.RepositoryName, ref)
		if err != nil {
			return err
		}
		slices.Sort(o.Tags)
		out.ImageDigest, out.ImageTags, out.PushedAt, out.PushedBy, out.Claims = &o.Digest, o.Tags, &o.PushedAt, &o.PushedBy, o.Claims
		return nil
	})
}
