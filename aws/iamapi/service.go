// Package iamapi is AWS IAM's API in front of package identity.
//
// Service has the SDK client's method signatures, so that awsproto serves it and
// Go code can call it in the client's place. Each method passes gate and
// translates; rules are identity's. Operations that are not here are answered as
// unknown by name, never with an invented success.
package iamapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "iam"

const (
	namespace = "https://iam.amazonaws.com/doc/2010-05-08/"
	version   = "2010-05-08"
)

// Service serves the API.
type Service struct {
	identity *identity.Identity
	gate     *gate.Gate
	// warn is told of trust policies that are wider than they look.
	warn func(ctx context.Context, role, text string)
}

// New makes the front end. warn is told of trust policies that are allowed and
// probably wider than meant.
func New(id *identity.Identity, g *gate.Gate, warn func(ctx context.Context, role, text string)) *Service {
	return &Service{id, g, warn}
}

// Handler serves the API over awsQuery.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.NewQuery(namespace, version, awsproto.AsIs, s)
}

type options = func(*iam.Options)

// reads has every operation that Service has, and says whether it only reads.
var reads = map[string]bool{
	"AddClientIDToOpenIDConnectProvider":      false,
	"AddUserToGroup":                          false,
	"AttachGroupPolicy":                       false,
	"AttachRolePolicy":                        false,
	"AttachUserPolicy":                        false,
	"ChangePassword":                          false,
	"CreateAccessKey":                         false,
	"CreateAccountAlias":                      false,
	"CreateGroup":                             false,
	"CreateLoginProfile":                      false,
	"CreateOpenIDConnectProvider":             false,
	"CreatePolicy":                            false,
	"CreatePolicyVersion":                     false,
	"CreateRole":                              false,
	"CreateUser":                              false,
	"DeleteAccessKey":                         false,
	"DeleteAccountAlias":                      false,
	"DeleteGroup":                             false,
	"DeleteGroupPolicy":                       false,
	"DeleteLoginProfile":                      false,
	"DeleteOpenIDConnectProvider":             false,
	"DeletePolicy":                            false,
	"DeletePolicyVersion":                     false,
	"DeleteRole":                              false,
	"DeleteRolePermissionsBoundary":           false,
	"DeleteRolePolicy":                        false,
	"DeleteUser":                              false,
	"DeleteUserPermissionsBoundary":           false,
	"DeleteUserPolicy":                        false,
	"DetachGroupPolicy":                       false,
	"DetachRolePolicy":                        false,
	"DetachUserPolicy":                        false,
	"GetAccessKeyLastUsed":                    true,
	"GetAccountSummary":                       true,
	"GetGroup":                                true,
	"GetGroupPolicy":                          true,
	"GetLoginProfile":                         true,
	"GetOpenIDConnectProvider":                true,
	"GetPolicy":                               true,
	"GetPolicyVersion":                        true,
	"GetRole":                                 true,
	"GetRolePolicy":                           true,
	"GetUser":                                 true,
	"GetUserPolicy":                           true,
	"ListAccessKeys":                          true,
	"ListAccountAliases":                      true,
	"ListAttachedGroupPolicies":               true,
	"ListAttachedRolePolicies":                true,
	"ListAttachedUserPolicies":                true,
	"ListEntitiesForPolicy":                   true,
	"ListGroupPolicies":                       true,
	"ListGroups":                              true,
	"ListGroupsForUser":                       true,
	"ListInstanceProfilesForRole":             true,
	"ListOpenIDConnectProviderTags":           true,
	"ListOpenIDConnectProviders":              true,
	"ListPolicies":                            true,
	"ListPolicyTags":                          true,
	"ListPolicyVersions":                      true,
	"ListRolePolicies":                        true,
	"ListRoleTags":                            true,
	"ListRoles":                               true,
	"ListUserPolicies":                        true,
	"ListUserTags":                            true,
	"ListUsers":                               true,
	"PutGroupPolicy":                          false,
	"PutRolePermissionsBoundary":              false,
	"PutRolePolicy":                           false,
	"PutUserPermissionsBoundary":              false,
	"PutUserPolicy":                           false,
	"RemoveClientIDFromOpenIDConnectProvider": false,
	"RemoveUserFromGroup":                     false,
	"SetDefaultPolicyVersion":                 false,
	"TagOpenIDConnectProvider":                false,
	"TagPolicy":                               false,
	"TagRole":                                 false,
	"TagUser":                                 false,
	"UntagOpenIDConnectProvider":              false,
	"UntagPolicy":                             false,
	"UntagRole":                               false,
	"UntagUser":                               false,
	"UpdateAccessKey":                         false,
	"UpdateAssumeRolePolicy":                  false,
	"UpdateGroup":                             false,
	"UpdateLoginProfile":                      false,
	"UpdateOpenIDConnectProviderThumbprint":   false,
	"UpdateRole":                              false,
	"UpdateRoleDescription":                   false,
	"UpdateUser":                              false,
}

// Operations lists the operations, for tests and documentation.
func Operations() []string { return slices.Sorted(maps.Keys(reads)) }

// do passes one operation on one resource through the gate.
func (s *Service) do(ctx context.Context, op, resource string, keys map[string][]string, act func(ctx context.Context, a arn.Account) error) error {
	readOnly, ok := reads[op]
	if !ok {
		return fmt.Errorf("operation %s has no row", op)
	}
	caller := gate.CallerFrom(ctx)
	a := caller.Principal.Account
	c := gate.Call{Principal: caller.Principal, Service: SigningName, Action: op, Place: arn.Place{Account: a, Region: caller.Region},
		Resources: []string{resource}, ReadOnly: readOnly, Keys: keys}
	return exception(s.gate.Do(ctx, c, func(ctx context.Context) error { return act(ctx, a) }))
}

// exception turns each of identity's codes into IAM's: they are the same words.
func exception(err error) error {
	var e *identity.Error
	var denied *gate.Denied
	switch {
	case errors.As(err, &denied):
		return &smithy.GenericAPIError{Code: "AccessDenied", Message: denied.Error()}
	case errors.As(err, &e):
		fault := smithy.FaultClient
		if e.Code == identity.Unavailable {
			fault = smithy.FaultServer
		}
		return &smithy.GenericAPIError{Code: string(e.Code), Message: e.Message, Fault: fault}
	}
	return err
}

func invalid(parameter, why string) error {
	return &smithy.GenericAPIError{Code: "ValidationError", Message: fmt.Sprintf("1 validation error detected: Value at '%s' failed to satisfy constraint: %s", parameter, why)}
}

func required(parameter string, v *string) error {
	if v == nil {
		return invalid(parameter, "Member must not be null")
	}
	return nil
}

// account is the caller's.
func account(ctx context.Context) arn.Account { return gate.CallerFrom(ctx).Principal.Account }

// entity finds what an operation is about: its ARN, with the path if it exists.
// Whether it exists is not told before the caller may know.
func (s *Service) entity(ctx context.Context, k identity.EntityKind, name *string) (string, map[string][]string, error) {
	if err := required(string(k)+"Name", name); err != nil {
		return "", nil, err
	}
	e, err := s.identity.Entity(ctx, account(ctx), k, *name)
	if identity.CodeOf(err) == identity.NoSuchEntity {
		return identity.EntityARN(account(ctx), k, strings.ReplaceAll(*name, "/", "_")), nil, nil
	}
	if err != nil {
		return "", nil, exception(err)
	}
	keys := map[string][]string{}
	for tag, v := range e.Tags {
		for _, prefix := range []string{"iam:resourcetag/", "aws:resourcetag/"} {
			keys[prefix+strings.ToLower(tag)] = []string{v}
		}
	}
	return e.ARN(), keys, nil
}

func tagMap(list []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range list {
		if t.Key == nil {
			return nil, invalid("tags", "a tag has no Key")
		}
		if _, twice := m[*t.Key]; twice {
			return nil, &types.InvalidInputException{Message: aws.String("Duplicate tag keys found. Please note that Tag keys are case insensitive.")}
		}
		m[*t.Key] = aws.ToString(t.Value)
	}
	return m, nil
}

func tagList(m map[string]string) []types.Tag {
	out := []types.Tag{}
	for k, v := range m {
		out = append(out, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	slices.SortFunc(out, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return out
}

// escape encodes a policy for a reply, as IAM does (RFC 3986).
func escape(document string) *string {
	return aws.String(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

// page is where a list stands.
type page struct {
	query, after string
	size         int
}

func (s *Service) page(query string, maxItems *int32, marker *string) (page, error) {
	p := page{query: query, size: 100}
	if maxItems != nil {
		if *maxItems < 1 || *maxItems > 1000 {
			return p, invalid("maxItems", "Member must have value between 1 and 1000")
		}
		p.size = int(*maxItems)
	}
	var err error
	p.after, err = s.identity.OpenPageToken(query, aws.ToString(marker))
	return p, exception(err)
}

// cut shortens a list of one more than the page to the page, and makes the marker
// of the next.
func cut[T any](s *Service, p page, list []T, name func(T) string) (_ []T, marker *string, truncated bool) {
	if len(list) <= p.size {
		return list, nil, false
	}
	list = list[:p.size]
	return list, aws.String(s.identity.PageToken(p.query, name(list[p.size-1]))), true
}

func entityName(e *identity.Entity) string { return e.Name }

func prefix(p *string) string {
	if p == nil {
		return "/"
	}
	return *p
}
