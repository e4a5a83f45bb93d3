// Package ecrapi is Amazon ECR's API in front of package registry.
//
// Service has the SDK client's method signatures, so that awsproto serves it and
// Go code can call it in the client's place. Each method checks its parameters,
// passes gate and translates; rules are the registry's. Operations that are not
// here are answered as unknown by name, never with an invented success.
package ecrapi

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/registry"
)

// Target is the prefix of X-Amz-Target.
const Target = "AmazonEC2ContainerRegistry_V20150921"

// SigningName is the service's name in signatures and policies.
const SigningName = "ecr"

// Endpoints knows under which address clients reach a registry.
type Endpoints interface {
	// Registry returns host[:port] and whether it is reached over TLS.
	Registry(ctx context.Context, p arn.Place) (host string, secure bool)
}

// Service serves the API.
type Service struct {
	registry  *registry.Registry
	identity  *identity.Identity
	gate      *gate.Gate
	endpoints Endpoints
}

// New makes the front end.
func New(r *registry.Registry, id *identity.Identity, g *gate.Gate, e Endpoints) *Service {
	return &Service{r, id, g, e}
}

// Handler serves the API over awsJson 1.1.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.New(Target, awsproto.JSON11, awsproto.LowerCamel, s)
}

type options = func(*ecr.Options)

// request is what the row of an operation looks at.
type request struct {
	place arn.Place
	names []string            // repositories
	arn   string              // resourceArn, of the tag operations
	keys  map[string][]string // condition keys of the request
}

// row says what an operation is to the gate.
type row struct {
	reads bool
	// also lists further actions that the caller needs, on all repositories.
	also []string
	// action replaces the operation's own name where ECR has no such action.
	action string
	// registry says that the operation acts on no repository.
	registry bool
}

// table has a row for every operation that Service has.
var table = map[string]row{
	"BatchCheckLayerAvailability":             {reads: true},
	"BatchDeleteImage":                        {},
	"BatchGetImage":                           {reads: true},
	"BatchGetRepositoryScanningConfiguration": {reads: true},
	"CompleteLayerUpload":                     {},
	"CreateRepository":                        {},
	"CreateRepositoryCreationTemplate":        {registry: true, also: templateActions},
	"DeleteLifecyclePolicy":                   {},
	"DeleteRegistryPolicy":                    {registry: true},
	"DeleteRepository":                        {},
	"DeleteRepositoryCreationTemplate":        {registry: true},
	"DeleteRepositoryPolicy":                  {},
	"DescribeImageScanFindings":               {reads: true},
	"DescribeImages":                          {reads: true},
	"DescribeRegistry":                        {reads: true, registry: true},
	"DescribeRepositories":                    {reads: true},
	"DescribeRepositoryCreationTemplates":     {reads: true, registry: true},
	"GetAccountSetting":                       {reads: true, registry: true},
	"GetAuthorizationToken":                   {reads: true, registry: true},
	"GetDownloadUrlForLayer":                  {reads: true},
	"GetLifecyclePolicy":                      {reads: true},
	"GetRegistryPolicy":                       {reads: true, registry: true},
	"GetRegistryScanningConfiguration":        {reads: true, registry: true},
	"GetRepositoryPolicy":                     {reads: true},
	"InitiateLayerUpload":                     {},
	"ListImageReferrers":                      {reads: true, action: "BatchGetImage"},
	"ListImages":                              {reads: true},
	"ListTagsForResource":                     {reads: true},
	"PutAccountSetting":                       {registry: true},
	"PutImage":                                {},
	"PutImageScanningConfiguration":           {},
	"PutImageTagMutability":                   {},
	"PutLifecyclePolicy":                      {},
	"PutRegistryPolicy":                       {registry: true},
	"PutRegistryScanningConfiguration":        {registry: true},
	"SetRepositoryPolicy":                     {},
	"TagResource":                             {},
	"UntagResource":                           {},
	"UpdateRepositoryCreationTemplate":        {registry: true, also: templateActions},
	"UploadLayerPart":                         {},
}

var templateActions = []string{"CreateRepository", "PutLifecyclePolicy", "SetRepositoryPolicy"}

// call is what the gate is asked for one request of an operation.
func (w row) call(op string, caller gate.Caller, q request) gate.Call {
	c := gate.Call{Principal: caller.Principal, Service: SigningName, Action: op, Place: q.place, ReadOnly: w.reads, Keys: q.keys}
	if w.action != "" {
		c.Action = w.action
	}
	switch {
	case w.registry:
		c.Resources = []string{arn.Any}
	case q.arn != "":
		c.Resources = []string{q.arn}
	case len(q.names) == 0:
		c.Resources = []string{arn.Repository(q.place, "*").String()}
	default:
		for _, n := range q.names {
			c.Resources = append(c.Resources, arn.Repository(q.place, n).String())
		}
	}
	return c
}

// do passes one operation through the gate.
func (s *Service) do(ctx context.Context, op string, q request, act func(ctx context.Context) error) error {
	w, ok := table[op]
	if !ok {
		return fmt.Errorf("operation %s has no row", op)
	}
	caller := gate.CallerFrom(ctx)
	call := w.call(op, caller, q)
	err := s.gate.Do(ctx, call, func(ctx context.Context) error {
		if len(w.also) > 0 {
			more := call
			more.Resources = []string{arn.Repository(q.place, "*").String()}
			for _, a := range w.also {
				if err := s.gate.Check(ctx, more, a); err != nil {
					return err
				}
			}
		}
		return act(ctx)
	})
	return exception(err, q)
}

// repository is the request of an operation on one repository. The name is
// checked before anything else, so that a malformed one is no question of rights.
func (s *Service) repository(ctx context.Context, registryID, name *string) (request, error) {
	q, err := s.place(ctx, registryID)
	if err != nil {
		return q, err
	}
	if name == nil {
		return q, missing("repositoryName")
	}
	if err := registry.CheckName(*name); err != nil {
		return q, exception(err, q)
	}
	q.names = []string{*name}
	return q, nil
}

// place is the registry an operation is about: the caller's own unless named.
func (s *Service) place(ctx context.Context, registryID *string) (request, error) {
	c := gate.CallerFrom(ctx)
	q := request{place: c.Place()}
	if registryID != nil {
		q.place.Account = arn.Account(*registryID)
		if !q.place.Account.Valid() {
			return q, invalid("registryId", "must satisfy regular expression '[0-9]{12}'")
		}
	}
	return q, nil
}

// Operations lists the operations with a row, for tests and documentation.
func Operations() []string { return slices.Sorted(maps.Keys(table)) }
