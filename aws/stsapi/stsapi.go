// Package stsapi is AWS STS's API in front of package identity: who somebody is,
// and temporary credentials.
//
// Service has the SDK client's method signatures, so that awsproto serves it. Who
// may assume a role is decided by gate, as everything else; what a session is, by
// identity. Operations that are not here are answered as unknown by name.
package stsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/aws/awsproto"
	"github.com/berth-registry/berth/gate"
	"github.com/berth-registry/berth/identity"
)

// SigningName is the service's name in signatures and policies.
const SigningName = "sts"

// Unsigned is the operation that is called without a signature: what it brings
// instead is a token of an identity provider.
const Unsigned = "AssumeRoleWithWebIdentity"

// Service serves the API.
type Service struct {
	identity *identity.Identity
	gate     *gate.Gate
	failed   func(address string) (tooMany bool)
}

// New makes the front end. failed counts the tokens of an address that were
// refused, and says when there were too many.
func New(id *identity.Identity, g *gate.Gate, failed func(address string) (tooMany bool)) *Service {
	return &Service{id, g, failed}
}

// Handler serves the API over awsQuery.
func (s *Service) Handler() *awsproto.Service {
	return awsproto.NewQuery("https://sts.amazonaws.com/doc/2011-06-15/", "2011-06-15", awsproto.AsIs, s)
}

type options = func(*sts.Options)

// Operations lists the operations, for tests and documentation.
func Operations() []string {
	return []string{"AssumeRole", Unsigned, "DecodeAuthorizationMessage", "GetAccessKeyInfo", "GetCallerIdentity", "GetSessionToken"}
}

func exception(err error) error {
	var e *identity.Error
	var denied *gate.Denied
	switch {
	case errors.As(err, &denied):
		if denied.Action == "sts:"+Unsigned { // tells nothing to whom nobody knows
			return &smithy.GenericAPIError{Code: "AccessDenied", Message: "Not authorized to perform " + denied.Action}
		}
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

func required(parameter string, v *string) error {
	if v == nil {
		return &smithy.GenericAPIError{Code: "ValidationError", Message: fmt.Sprintf("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", parameter)}
	}
	return nil
}

func call(caller gate.Caller, action, resource string, readOnly bool) gate.Call {
	return gate.Call{Principal: caller.Principal, Service: SigningName, Action: action, Place: caller.Place(),
		Resources: []string{resource}, ReadOnly: readOnly}
}

// GetCallerIdentity implements the API operation of its name, as do the methods
// below. It is allowed to everybody, whatever policies say.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput, _ ...options) (*sts.GetCallerIdentityOutput, error) {
	p := gate.CallerFrom(ctx).Principal
	return &sts.GetCallerIdentityOutput{Account: aws.String(string(p.Account)), Arn: aws.String(p.ARN), UserId: aws.String(p.ID)}, nil
}

func (s *Service) GetSessionToken(ctx context.Context, in *sts.GetSessionTokenInput, _ ...options) (*sts.GetSessionTokenOutput, error) {
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, exception(&identity.Error{Code: identity.AccessDenied, Message: "MultiFactorAuthentication failed, this server has no MFA devices"})
	}
	c, err := s.identity.SessionToken(ctx, gate.CallerFrom(ctx).Principal, seconds(in.DurationSeconds))
	if err != nil {
		return nil, exception(err)
	}
	return &sts.GetSessionTokenOutput{Credentials: toCredentials(c)}, nil
}

func seconds(n *int32) time.Duration {
	if n == nil {
		return 0
	}
	return max(time.Duration(*n)*time.Second, 1) // 0 is asked for, not left out
}

func toCredentials(c identity.Credentials) *types.Credentials {
	return &types.Credentials{AccessKeyId: aws.String(c.AccessKeyID), SecretAccessKey: aws.String(c.Secret.Reveal()),
		SessionToken: aws.String(c.SessionToken), Expiration: aws.Time(c.Expires)}
}

func (s *Service) GetAccessKeyInfo(ctx context.Context, in *sts.GetAccessKeyInfoInput, _ ...options) (*sts.GetAccessKeyInfoOutput, error) {
	if err := required("accessKeyId", in.AccessKeyId); err != nil {
		return nil, err
	}
	out := &sts.GetAccessKeyInfoOutput{}
	return out, exception(s.gate.Do(ctx, call(gate.CallerFrom(ctx), "GetAccessKeyInfo", arn.Any, true), func(ctx context.Context) error {
		a, err := s.identity.KeyAccount(ctx, *in.AccessKeyId)
		out.Account = aws.String(string(a))
		return err
	}))
}

// DecodeAuthorizationMessage opens the message that a denial carries, in AWS's
// form.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, in *sts.DecodeAuthorizationMessageInput, _ ...options) (*sts.DecodeAuthorizationMessageOutput, error) {
	if err := required("encodedMessage", in.EncodedMessage); err != nil {
		return nil, err
	}
	caller := gate.CallerFrom(ctx)
	out := &sts.DecodeAuthorizationMessageOutput{}
	return out, exception(s.gate.Do(ctx, call(caller, "DecodeAuthorizationMessage", arn.Any, true), func(ctx context.Context) error {
		x, err := s.identity.DecodeMessage(ctx, caller.Principal.Account, *in.EncodedMessage)
		if err != nil {
			return err
		}
		out.DecodedMessage, err = decoded(x)
		return err
	}))
}

func decoded(x *identity.Explanation) (*string, error) {
	type object = map[string]any
	matched, failures := []any{}, []any{}
	explicit, action, resource := false, "", ""
	for _, a := range x.Answers {
		action, resource = a.Action, a.Resource
		for _, r := range a.Read {
			statement := object{"policy": r.Policy, "statementId": r.Sid, "statement": r.Statement, "effect": strings.ToUpper(r.Effect)}
			if r.Applies {
				matched = append(matched, statement)
				explicit = explicit || r.Effect == "Deny"
			} else {
				statement["because"] = r.Because
				failures = append(failures, statement)
			}
		}
	}
	b, err := json.Marshal(object{"allowed": x.Allowed, "explicitDeny": explicit, "matchedStatements": object{"items": matched}, "failures": object{"items": failures},
		"context": object{"principal": object{"arn": x.Principal}, "action": action, "resource": resource, "conditions": object{"items": []any{}}}})
	return aws.String(string(b)), err
}

func toTags(list []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range list {
		if t.Key == nil {
			return nil, required("tags.member.key", nil)
		}
		if _, twice := m[*t.Key]; twice {
			return nil, exception(&identity.Error{Code: identity.InvalidInput, Message: "Duplicate tag keys found. Please note that Tag keys are case insensitive."})
		}
		m[*t.Key] = aws.ToString(t.Value)
	}
	return m, nil
}

func toARNs(list []types.PolicyDescriptorType) []string {
	var out []string
	for _, p := range list {
		out = append(out, aws.ToString(p.Arn))
	}
	return out
}

// keys are the condition keys of a request for a session.
func keys(r identity.Assume, external *string) map[string][]string {
	k := map[string][]string{"sts:rolesessionname": {r.Name}}
	if external != nil {
		k["sts:externalid"] = []string{*external}
	}
	if r.SourceIdentity != "" {
		k["sts:sourceidentity"] = []string{r.SourceIdentity}
	}
	if len(r.Transitive) > 0 {
		k["sts:transitivetagkeys"] = r.Transitive
	}
	return gate.TagKeys(k, r.Tags)
}

func (s *Service) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, _ ...options) (*sts.AssumeRoleOutput, error) {
	for name, v := range map[string]*string{"roleArn": in.RoleArn, "roleSessionName": in.RoleSessionName} {
		if err := required(name, v); err != nil {
			return nil, err
		}
	}
	tags, err := toTags(in.Tags)
	if err != nil {
		return nil, err
	}
	r := identity.Assume{Role: *in.RoleArn, Name: *in.RoleSessionName, Duration: seconds(in.DurationSeconds), Tags: tags, Transitive: in.TransitiveTagKeys,
		SourceIdentity: aws.ToString(in.SourceIdentity), Policy: aws.ToString(in.Policy), PolicyARNs: toARNs(in.PolicyArns)}
	if err := r.Check(); err != nil {
		return nil, exception(err)
	}
	role, err := s.identity.Role(ctx, r.Role)
	if err != nil {
		return nil, exception(err)
	}
	caller := gate.CallerFrom(ctx)
	c := call(caller, "AssumeRole", r.Role, false)
	c.Keys = keys(r, in.ExternalId)
	out := &sts.AssumeRoleOutput{}
	return out, exception(s.gate.Do(ctx, c, func(ctx context.Context) error {
		if len(tags) > 0 {
			if err := s.gate.Check(ctx, c, "TagSession"); err != nil {
				return err
			}
		}
		if r.SourceIdentity != "" {
			if err := s.gate.Check(ctx, c, "SetSourceIdentity"); err != nil {
				return err
			}
		}
		base, err := s.identity.SessionOf(ctx, caller.Principal)
		if err != nil {
			return err
		}
		cred, session, err := s.identity.AssumeRole(ctx, role, r, base, nil)
		if err != nil {
			return err
		}
		out.Credentials, out.AssumedRoleUser = toCredentials(cred), toAssumed(session)
		//lint:ignore SA1019 clients of before 2026 read this one
		out.PackedPolicySize = packed(r)
		out.SessionTokenUtilization, out.SessionTokenSize = packed(r), aws.Int32(int32(len(cred.SessionToken)))
		if session.SourceIdentity != "" {
			out.SourceIdentity = aws.String(session.SourceIdentity)
		}
		return nil
	}))
}

func toAssumed(s *identity.Session) *types.AssumedRoleUser {
	return &types.AssumedRoleUser{Arn: aws.String(s.Principal.ARN), AssumedRoleId: aws.String(s.Principal.ID)}
}

// packed is how much of the room for session policies and tags is used, in percent.
func packed(r identity.Assume) *int32 {
	n := len(r.Policy)
	for _, p := range r.PolicyARNs {
		n += len(p)
	}
	for k, v := range r.Tags {
		n += len(k) + len(v)
	}
	if n == 0 {
		return nil
	}
	return aws.Int32(int32(min(100, 1+n*100/8192)))
}

func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, _ ...options) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	for name, v := range map[string]*string{"roleArn": in.RoleArn, "roleSessionName": in.RoleSessionName, "webIdentityToken": in.WebIdentityToken} {
		if err := required(name, v); err != nil {
			return nil, err
		}
	}
	if in.ProviderId != nil {
		return nil, exception(&identity.Error{Code: identity.ValidationError, Message: "ProviderId is for OAuth 2.0 tokens, which this server does not take. Leave it out."})
	}
	r := identity.Assume{Role: *in.RoleArn, Name: *in.RoleSessionName, Duration: seconds(in.DurationSeconds), Policy: aws.ToString(in.Policy), PolicyARNs: toARNs(in.PolicyArns)}
	if err := r.Check(); err != nil {
		return nil, exception(err)
	}
	role, err := s.identity.Role(ctx, r.Role)
	if err != nil {
		return nil, exception(err)
	}
	a, err := arn.Parse(r.Role)
	if err != nil {
		return nil, exception(&identity.Error{Code: identity.ValidationError, Message: "roleArn is not an ARN"})
	}
	caller := gate.CallerFrom(ctx)
	web, err := s.identity.WebIdentityOf(ctx, a.Account, *in.WebIdentityToken)
	if err != nil {
		if identity.CodeOf(err) == identity.InvalidIdentityToken && s.failed(caller.SourceIP) {
			return nil, &smithy.GenericAPIError{Code: "Throttling", Message: "Rate exceeded: too many tokens from this address were refused."}
		}
		return nil, exception(err)
	}
	caller.Principal = web.Principal
	ctx = gate.WithCaller(ctx, caller)
	c := call(caller, Unsigned, r.Role, false)
	c.Keys = keys(r, nil)
	for k, v := range web.Keys {
		c.Keys[k] = v
	}
	out := &sts.AssumeRoleWithWebIdentityOutput{}
	return out, exception(s.gate.Do(ctx, c, func(ctx context.Context) error {
		cred, session, err := s.identity.AssumeRole(ctx, role, r, nil, web)
		if err != nil {
			return err
		}
		out.Credentials, out.AssumedRoleUser = toCredentials(cred), toAssumed(session)
		out.Audience, out.SubjectFromWebIdentityToken, out.Provider = aws.String(web.Audience), aws.String(web.Subject), aws.String(web.Provider)
		//lint:ignore SA1019 clients of before 2026 read this one
		out.PackedPolicySize = packed(r)
		out.SessionTokenUtilization, out.SessionTokenSize = packed(r), aws.Int32(int32(len(cred.SessionToken)))
		return nil
	}))
}
